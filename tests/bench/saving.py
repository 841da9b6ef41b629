"""What saving the exact state costs at the size of preset ``full``: seconds, and the share of training time."""

from __future__ import annotations

import hashlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, cast

import torch

from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel, logits_at, new_model, parameter_count
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.loading import load_preset
from logbert_engine.presets.types import Encoder, Training
from logbert_engine.rundir.layout import StageLayout
from logbert_engine.training.origin import Origin
from logbert_engine.training.place import Place
from logbert_engine.training.position import Exact, Position, save_interval
from logbert_engine.training.step import make_optimizer
from logbert_engine.training.team import Team

EVENTS, STEPS, ROUNDS = 1000, 3, 5
AT_MOST = 0.02
"""Share of training time, with a save every ``save_minutes``, or less often where the disk is slow."""


class _Nowhere(io.RawIOBase):
    """Takes what is written and keeps nothing."""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Counts the bytes."""
        return memoryview(data).nbytes  # type: ignore[arg-type]


def _trained(sizes: Encoder, training: Training) -> tuple[MaskedModel, torch.optim.Optimizer]:
    """The model after a few real steps on short sequences: the state's size does not depend on them."""
    vocabulary = Vocabulary(events=list(range(EVENTS)), reserved=sizes.reserved_events)
    model = new_model(sizes, vocabulary, seed=1).train()
    optimizer = make_optimizer(model, training)
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        ids_BT = torch.randint(vocabulary.first, vocabulary.size, (4, 20), generator=generator)
        hidden_BT = torch.rand(ids_BT.shape, generator=generator) < 0.5
        logits_MV = logits_at(model, ids_BT, hidden_BT, None)
        torch.nn.functional.cross_entropy(logits_MV, ids_BT[hidden_BT]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model, optimizer


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _write_and_sync(path: Path, content: memoryview) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def run() -> bool:
    """Print the table; whether saves cost less than the promised share of training time."""
    preset = load_preset("full")
    assert isinstance(preset.model, Encoder)
    compute = Compute(device=torch.device("cpu"), precision="fp32", name="CPU")
    model, optimizer = _trained(preset.model, preset.training)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        layout = StageLayout(Path(folder) / "stage_1_100pct")
        exact = Exact(
            layout,
            Origin(stage=layout.name, config="0" * 64, data="0" * 64, parent="new"),
            Team(Place(), compute.device),
            compute,
            model,
            optimizer,
            scaler,
        )
        position = Position(step=STEPS, started_at="2025-03-01T10:00:00")
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        plain, synced = Path(folder) / "plain.pt", Path(folder) / "synced"
        for _ in range(ROUNDS):  # in turn, so that a noisy neighbour meets all of them
            os.sync()
            found = {"the exact state": _seconds(lambda: exact.save(position, preset.training.batch))}
            content = memoryview(layout.resume.read_bytes())
            found["torch.save alone, not synced"] = _seconds(lambda: torch.save(state, plain))
            found["of ours: serialising"] = _seconds(
                partial(torch.save, state, cast("IO[bytes]", _Nowhere()))
            )
            found["of ours: sha256"] = _seconds(partial(hashlib.sha256, content))
            os.sync()
            found["of ours: write and fsync"] = _seconds(partial(_write_and_sync, synced, content))
            plain.unlink()
            synced.unlink()
            for name, seconds in found.items():
                rows.setdefault(name, []).append(seconds)
        megabytes = layout.resume.stat().st_size / (1 << 20)
    minutes = preset.training.save_minutes
    print(
        f"saving, preset full with {EVENTS:,} events: {parameter_count(model) / 1e6:.1f} M parameters and their "
        f"AdamW state, {megabytes:,.0f} MB; median of {ROUNDS} rounds, temporary files in {tempfile.gettempdir()}"
    )
    print(f"{'':<32}{'s':>8}{'MB/s':>10}{'of ' + format(minutes, 'g') + ' min':>12}")
    medians = {name: statistics.median(seconds) for name, seconds in rows.items()}
    for name, seconds in medians.items():
        print(f"{name:<32}{seconds:>8.2f}{megabytes / seconds:>10,.0f}{seconds / (minutes * 60):>12.2%}")
    took = medians["the exact state"]
    every = save_interval(minutes * 60, took)
    share = took / every
    print(f"share of training time, saving every {every / 60:.1f} min: {share:.2%} (at most {AT_MOST:.0%})")
    return share <= AT_MOST
