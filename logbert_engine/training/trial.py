"""A process that takes some real steps at a preset's size: ``python -m logbert_engine.training.trial``.

It reads a ``TrialSpec`` as JSON on standard input, and says on standard output, a JSON object a line, which step it
has done, and at its end what it found. Sequences are random events: neither time nor memory depends on which.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
import numpy as np
import torch

from logbert_engine.data.batches import NEXT, VIEWS, Batch
from logbert_engine.data.masks import training_mask
from logbert_engine.estimates.trying import TrialResult, TrialSpec
from logbert_engine.hardware.peak import PeakMeter
from logbert_engine.models.decoder import new_decoder, next_token_loss
from logbert_engine.models.device import (
    Compute,
    choose,
    device_mb,
    is_out_of_memory,
    peak_device_mb,
    resident_mb,
)
from logbert_engine.models.encoder import new_model
from logbert_engine.models.recompute import recompute_layers
from logbert_engine.models.vocabulary import CLS, END, Vocabulary
from logbert_engine.presets.types import Decoder, Encoder
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.rundir.lifeline import leave_at_once, tie_to_parent
from logbert_engine.training.random_states import seed_all
from logbert_engine.training.step import Updater, accumulate, make_optimizer

_T = TypeVar("_T")

_SEED = 1337
_LEAST = 2
"""Steps that are taken however long they take."""

Pass = Callable[[int, int], torch.Tensor]
"""Forward and backward of the n-th micro-batch, of sequences of so many tokens; returns the loss's sum."""


def main() -> int:
    """Carry out what standard input asks for; returns the exit status."""
    tie_to_parent()
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=TrialSpec)
    try:
        result = attempt(spec, lambda step: _say({"step": step}))
    except LogbertError as error:
        _say({"error": str(error)})
        return 1
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        _say(
            {
                "error": f"out of memory with a micro-batch of {spec.micro_batch} sequences of {spec.longest} "
                "tokens; try a smaller micro-batch.",
                "out_of_memory": True,
            }
        )
        return 1
    _say({"result": result})
    return 0


def attempt(spec: TrialSpec, progress: Callable[[int], None]) -> TrialResult:
    """Take the steps of a trial.

    Args:
        spec: what to try.
        progress: called with the number of each step done.

    Raises:
        LogbertError: the device is not there, or cannot do the precision.
    """
    compute = choose(spec.device, spec.training.precision)
    empty_mb = resident_mb()
    seed_all(_SEED)
    model = _model(spec).to(compute.device)
    if spec.model.gradient_checkpointing:
        recompute_layers(model)
    model.train()
    optimizer = make_optimizer(model, spec.training)
    scaler = torch.amp.GradScaler(compute.kind, enabled=compute.precision == "fp16")
    updater = Updater(model, optimizer, scaler, spec.training.clip)
    run = _encoder_pass(spec, model, scaler, compute) if isinstance(spec.model, Encoder) else None
    run = run or _decoder_pass(spec, model, scaler, compute)
    meter = PeakMeter()
    peak_device_mb(compute)
    weight = float(spec.micro_batch)
    on_device = 0.0
    for number in range(2):  # the optimizer's moments are there only after the first
        if spec.accumulates:
            run(1, spec.longest)
        loss = run(number, spec.longest)
        on_device = max(on_device, device_mb(compute) or 0.0)
        updater.update(loss, weight)
    peak_mb = peak_device_mb(compute) or max(on_device, meter.take())
    micro: list[float] = []
    update: list[float] = []
    begin = time.monotonic()
    _timed(compute, lambda: run(0, spec.length))  # allocators and kernels get used to the length
    while len(micro) < spec.steps:
        if len(micro) >= _LEAST and time.monotonic() - begin > spec.patience_s:
            break
        seconds, loss = _timed(compute, lambda: run(len(micro), spec.length))
        micro.append(seconds)
        update.append(_timed(compute, lambda: updater.update(loss, weight))[0])  # noqa: B023 - called at once
        progress(len(micro))
    low, _, high = statistics.quantiles(micro, n=4)
    middle = statistics.median(micro)
    return TrialResult(
        device=compute.kind,
        precision=compute.precision,
        micro_s=middle,
        update_s=statistics.median(update),
        steps=len(micro),
        spread=(high - low) / middle,
        empty_mb=empty_mb,
        peak_mb=peak_mb,
    )


def _model(spec: TrialSpec) -> torch.nn.Module:
    if isinstance(spec.model, Decoder):
        decoder: torch.nn.Module = new_decoder(spec.model, _SEED)
        return decoder
    vocabulary = Vocabulary(events=list(range(spec.events)), reserved=spec.model.reserved_events)
    encoder: torch.nn.Module = new_model(spec.model, vocabulary, _SEED)
    return encoder


def _encoder_pass(
    spec: TrialSpec, model: torch.nn.Module, scaler: torch.amp.GradScaler, compute: Compute
) -> Pass:
    assert isinstance(spec.model, Encoder)
    sizes, first = spec.model, Vocabulary(events=[], reserved=spec.model.reserved_events).first
    draw = np.random.default_rng(_SEED)
    weight_B = np.ones(spec.micro_batch, dtype=np.float32)

    def run(number: int, length: int) -> torch.Tensor:
        ids_BT = draw.integers(first, first + spec.events, (spec.micro_batch, length))
        ids_BT[:, 0], ids_BT[:, -1] = CLS, END
        targets_BT = np.ones(ids_BT.shape, dtype=np.bool_)
        targets_BT[:, 0] = False
        batch = Batch(
            ids_BT=ids_BT,
            place_BT=np.where(targets_BT, np.arange(length)[None] - 1, -1),
            targets_BT=targets_BT,
            view_B=_views(sizes, number, spec.micro_batch),
            tokens_B=np.full(spec.micro_batch, length),
            sequence_B=draw.integers(0, 1 << 40, spec.micro_batch),
            start_B=np.zeros(spec.micro_batch, dtype=np.int64),
        )
        visits = np.zeros(spec.micro_batch, dtype=np.int64)
        hidden_BT = training_mask(batch, visits, sizes.mask_ratio, seed=_SEED, stage=1, epoch=number)
        rows = np.arange(spec.micro_batch)
        return accumulate(model, scaler, batch, hidden_BT, weight_B, rows, spec.micro_batch, compute)

    return run


def _views(sizes: Encoder, number: int, rows: int) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """One view a micro-batch, as in training, in turns; the one that takes most memory first."""
    views = sorted((VIEWS.index(view) for view in sizes.views), key=lambda view: view != NEXT)
    return np.full(rows, views[number % len(views)], dtype=np.int8)


def _decoder_pass(
    spec: TrialSpec, model: torch.nn.Module, scaler: torch.amp.GradScaler, compute: Compute
) -> Pass:
    assert isinstance(spec.model, Decoder)
    vocabulary = spec.model.vocabulary

    def run(number: int, length: int) -> torch.Tensor:  # noqa: ARG001
        ids_BT = torch.randint(vocabulary, (spec.micro_batch, length), device=compute.device)
        with compute.autocast():
            loss = next_token_loss(model, ids_BT)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    return run


def _timed(compute: Compute, work: Callable[[], _T]) -> tuple[float, _T]:
    """Seconds until the device has done it, and what it gives."""
    begin = time.perf_counter()
    found = work()
    if compute.kind == "cuda":
        torch.cuda.synchronize(compute.device)
    elif compute.kind == "mps":
        torch.mps.synchronize()
    return time.perf_counter() - begin, found


def _say(what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    leave_at_once(main())
