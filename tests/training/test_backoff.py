"""Memory that runs short in the loop of a stage: what is saved, what is said, and that the result stays the same."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from logbert_engine.models.device import Compute
from logbert_engine.presets.runfile import read_config
from logbert_engine.protocol.errors import DiskFullError
from logbert_engine.protocol.events import BackedOff, Log, Metric, StageStarted
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.supervision.launch import supervisor_command
from logbert_engine.training import run as run_module
from logbert_engine.training import stage as stage_module
from logbert_engine.training.position import Exact
from logbert_engine.training.prepare import prepare
from logbert_engine.training.recorder import Recorder
from logbert_engine.training.run import run_stages
from logbert_engine.training.shortage import OutOfMemory, Shortage, lacking, shortage_of
from logbert_engine.training.step import Updater
from logbert_engine.training.team import Place, Team
from logbert_engine.training.wishes import Wishes

BATCH, AGREES = 8, 1e-6
SMALL = {
    "training.batch": BATCH,
    "training.log_every": 1,
    "model.hidden": 32,
    "model.ffn": 64,
    "stages.max_ratio": 0.67,
    "stages.epochs": 2,
}
CPU = Compute(device=torch.device("cpu"), precision="fp32", name="CPU")
GPU = Compute(device=torch.device("cuda"), precision="bf16", name="GPU")
REFUSED = (
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
    "allocate 64 bytes. Error code 12 (Cannot allocate memory)\nmore"
)


class Trained:
    """What a run told, read back from its journal."""

    def __init__(self, run: RunLayout) -> None:
        events = list(read_journal(run.journal))
        self.backed_off = [event for event in events if isinstance(event, BackedOff)]
        self.starts = [(e.stage, e.step, e.micro_batch) for e in events if isinstance(e, StageStarted)]
        self.warnings = [e.message for e in events if isinstance(e, Log) and e.level == "warning"]
        self.metrics = [event for event in events if isinstance(event, Metric)]
        self.losses: dict[int, float] = {}
        for event in events:
            if isinstance(event, StageStarted):
                self.losses = {s: loss for s, loss in self.losses.items() if s <= event.total_step}
            elif isinstance(event, Metric):
                assert event.loss is not None
                self.losses[event.total_step] = event.loss


Train = Callable[..., Trained]


@pytest.fixture
def train(data: Path, tmp_path: Path) -> Train:
    """``train(name, cap=0, …)``: a run in this process, to its end or to what stops it."""

    def go(name: str, cap: int = 0, *, settings: dict[str, Any] | None = None, **asked: Any) -> Trained:
        layout = RunLayout(tmp_path / name)
        values = SMALL | (settings or {})
        spec = RunSpec(
            data=str(data),
            run_dir=str(layout.root),
            preset="demo",
            device="cpu",
            overrides=[f"{key}={value}" for key, value in values.items()],
            **asked,
        )
        prepare(spec)
        recorder = Recorder(layout)
        try:
            team = Team(Place(), CPU.device)
            run_stages(layout, read_config(layout), CPU, recorder, Wishes(layout), team, cap)
        finally:
            recorder.close()
        return Trained(layout)

    return go


def fails(
    patch: pytest.MonkeyPatch, owner: Any, name: str, call: int, error: BaseException, *, after: bool = False
) -> None:
    """Let a function fail at one of its calls."""
    original, calls = getattr(owner, name), 0

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != call:
            return original(*args, **kwargs)
        if after:
            original(*args, **kwargs)
        raise error

    patch.setattr(owner, name, failing)


def agree(one: Trained, other: Trained, step: int) -> None:
    """Assert that losses are the same to the bit up to a step, and within ``AGREES`` behind it."""
    assert one.losses.keys() == other.losses.keys()
    for number, loss in one.losses.items():
        within = 0.0 if number <= step else AGREES
        assert loss == pytest.approx(other.losses[number], rel=0, abs=within), f"step {number}"


# The same result with any micro-batch


@pytest.mark.parametrize("cap", [7, 4, 3, 1])
def test_a_cap_changes_no_loss_and_holds_in_every_stage(train: Train, cap: int) -> None:
    whole, capped = train("whole"), train("capped", cap)
    assert [micro for _, _, micro in whole.starts] == [BATCH, BATCH]
    assert [micro for _, _, micro in capped.starts] == [cap, cap]
    agree(capped, whole, 0)
    for one, other in zip(capped.metrics, whole.metrics, strict=True):
        assert (one.lr, one.steps) == (other.lr, other.steps), "the effective batch is as it was"
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-4)


def test_a_cap_follows_batches_that_follow_the_stages(train: Train) -> None:
    growing = {"training.batch_by_ratio": "[[0.34, 4], [0.67, 8]]"}
    assert [micro for _, _, micro in train("free", settings=growing).starts] == [4, 8]
    assert [micro for _, _, micro in train("capped", 6, settings=growing).starts] == [4, 6]


# Memory runs out


@pytest.mark.parametrize("call", [1, 4])
def test_in_a_step_the_exact_state_is_saved_and_half_the_micro_batch_goes_on_from_it(
    train: Train, monkeypatch: pytest.MonkeyPatch, call: int, tmp_path: Path
) -> None:
    whole = train("whole")
    with monkeypatch.context() as patch:
        fails(patch, stage_module, "accumulate", call, RuntimeError(REFUSED), after=True)
        with pytest.raises(OutOfMemory) as raised:
            train("short")
    error = raised.value
    assert (error.stage, error.step, error.in_step) == (1, call - 1, True)
    assert str(error) == (
        f"out of host memory at step {call} of stage_1_34pct (can't allocate memory: you tried to allocate 64 "
        "bytes. Error code 12 (Cannot allocate memory))"
    )
    short = train("short", BATCH // 2)
    assert short.starts == [(1, 0, BATCH), (1, call - 1, BATCH // 2), (2, 0, BATCH // 2)]
    agree(short, whole, call - 1)


def test_in_an_update_which_may_be_done_in_part_an_earlier_state_is_used(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train("whole")
    of_stage = whole.metrics[0].steps
    with monkeypatch.context() as patch:
        fails(patch, Updater, "update", of_stage // 2 + 2, MemoryError(), after=True)
        with pytest.raises(OutOfMemory, match=r"^out of host memory at step \d+ of stage_1_34pct$"):
            train("short")
    short = train("short", BATCH // 2)
    assert short.starts[1] == (1, of_stage // 2, BATCH // 2), "from the end of the first epoch"
    agree(short, whole, of_stage // 2)


def test_in_validation_the_state_is_saved_so_that_only_that_is_done_again(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train("whole")
    with monkeypatch.context() as patch:
        fails(patch, stage_module, "end_epoch", 1, RuntimeError("could not create a primitive"))
        with pytest.raises(OutOfMemory, match="in validation after epoch 1 of stage_1_34pct") as raised:
            train("short")
    done = whole.metrics[0].steps // 2
    assert (raised.value.in_step, raised.value.step) == (True, done)
    short = train("short", BATCH // 2)
    assert short.starts[1] == (1, done, BATCH // 2)
    agree(short, whole, done)


def test_where_no_memory_is_left_to_save_the_state_an_earlier_one_is_used_and_that_is_said(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train("whole")
    with monkeypatch.context() as patch:
        fails(patch, stage_module, "accumulate", 3, RuntimeError(REFUSED))
        fails(patch, Exact, "save", 1, RuntimeError(REFUSED))
        with pytest.raises(OutOfMemory, match="at step 3 of stage_1_34pct"):
            train("short")
    short = train("short", BATCH // 2)
    assert "no memory is left to save the state; an earlier one is used" in short.warnings
    assert short.starts[1] == (1, 0, BATCH // 2)
    agree(short, whole, 0)


def test_a_full_disk_where_the_state_should_be_saved_is_a_full_disk(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(monkeypatch, stage_module, "accumulate", 3, RuntimeError(REFUSED))
    fails(monkeypatch, Exact, "save", 1, DiskFullError("disk full: no room"))
    with pytest.raises(DiskFullError):
        train("short")


def test_while_a_model_is_loaded_no_micro_batch_helps(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, run_module, "new_model", 1, torch.OutOfMemoryError("CUDA out of memory. Tried."))
    with pytest.raises(OutOfMemory, match="while the model of stage_1_34pct was loaded") as raised:
        train("short")
    assert not raised.value.in_step


def test_another_error_in_a_step_is_left_as_it_is(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    fails(monkeypatch, stage_module, "accumulate", 2, bug)
    with pytest.raises(RuntimeError) as raised:
        train("bug")
    assert raised.value is bug


@pytest.mark.parametrize(
    ("error", "compute", "found"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), GPU, ("device memory", "CUDA out of memory.")),
        (MemoryError(), CPU, ("host memory", "")),
        (MemoryError("Unable to allocate 3 GiB"), GPU, ("host memory", "Unable to allocate 3 GiB")),
        (RuntimeError("std::bad_alloc"), CPU, ("host memory", "std::bad_alloc")),
        (RuntimeError("can't start new thread"), CPU, ("host memory", "can't start new thread")),
        (RuntimeError("x" * 500 + " not enough memory"), CPU, ("host memory", "x" * 200)),
    ],
)
def test_what_ran_out_is_told_in_a_line(
    error: RuntimeError | MemoryError, compute: Compute, found: tuple[str, str]
) -> None:
    assert shortage_of(error, compute) == Shortage(*found)


def test_the_allocators_line_is_told_without_the_c_that_is_before_it() -> None:
    host = shortage_of(RuntimeError(REFUSED), GPU)
    assert host.whose == "host memory", "the CPU's allocator has no other"
    assert host.words.startswith("can't allocate memory: you tried")
    assert "\n" not in host.words
    with pytest.raises(OutOfMemory, match=r"^out of host memory here$"), lacking("here", CPU):
        raise MemoryError


# The budget


def test_near_the_budget_it_warns_then_halves_then_says_that_this_does_not_help(train: Train) -> None:
    """A few MB are less than this process has without any model."""
    whole, tight = train("whole"), train("tight", max_memory_mb=64.0)
    assert [(e.stage, e.step, e.before, e.micro_batch, e.cause) for e in tight.backed_off] == [
        (stage, 2, BATCH, BATCH // 2, "budget") for stage in (1, 2)
    ]
    for stage in (0, 1):
        warned, halved, helpless = tight.warnings[3 * stage : 3 * stage + 3]
        assert "if it stays so, the micro-batch of 8 is halved" in warned
        assert "the micro-batch goes from 8 to 4" in halved
        assert "halving the micro-batch to 4 did not lower it, so it stays there" in helpless
        assert "--max-memory-mb" in helpless
    agree(tight, whole, 2)


def test_far_from_the_budget_nothing_is_said(train: Train) -> None:
    found = train("roomy", max_memory_mb=1e6)
    assert found.backed_off == []
    assert not [line for line in found.warnings if "budget" in line]


@pytest.mark.slow
def test_where_the_sessions_on_the_device_take_the_memory_halving_brings_it_below_the_budget(
    tmp_path: Path,
) -> None:
    """A real worker, whose peak is 0.6 GB with all of a batch at once and 0.45 GB with hardly any."""
    folder = tmp_path / "long"
    folder.mkdir()
    rng = random.Random(7)
    records = [
        {"session_id": i, "event_sequence": [rng.randrange(20) for _ in range(rng.randrange(90, 121))]}
        for i in range(1600)
    ]
    (folder / "preprocessed_logs_2025-01-01.json").write_text(json.dumps(records))
    layout = RunLayout(tmp_path / "run")
    budget = 700.0
    spec = RunSpec(
        data=str(folder),
        run_dir=str(layout.root),
        preset="demo",
        progressive=False,
        device="cpu",
        max_memory_mb=budget,
        overrides=["training.batch=128", "training.log_every=1", "stages.epochs=1"],
    )
    prepare(spec)
    frugal = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(supervisor_command(layout), check=True, stdin=subprocess.DEVNULL, env=frugal)
    found = Trained(layout)
    at_once = [128, *(event.micro_batch for event in found.backed_off)]
    assert len(at_once) > 1
    assert {event.cause for event in found.backed_off} == {"budget"}
    assert not any("did not lower it" in line for line in found.warnings)
    last = found.backed_off[-1].step
    before = [m.rss_mb or 0.0 for m in found.metrics if m.step <= found.backed_off[0].step]
    after = [m.rss_mb or 0.0 for m in found.metrics if m.step > last + 1]
    assert max(after) < 0.8 * budget < max(before)
    assert len(found.starts) == 1, "nothing had to be started again"
