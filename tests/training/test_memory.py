"""The memory policy: a table of looks, properties of any looks, and a real model whose memory it brings down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.training.memory import Advice, MemoryGuard, MemoryState, halved

ROOT = Path(__file__).parents[2]


def kinds(guard: MemoryGuard, *used: float) -> list[str | None]:
    """``halve`` with its micro-batch."""
    said: list[str | None] = []
    for mb in used:
        advice = guard.look(mb)
        halve = advice is not None and advice.kind == "halve"
        said.append(f"halve {advice.micro_batch}" if advice and halve else advice.kind if advice else None)
    return said


def test_below_four_fifths_of_the_budget_nothing_is_said() -> None:
    guard = MemoryGuard(1000, 8)
    assert kinds(guard, 100, 799, 800, 500, 800) == [None] * 5
    assert guard.micro_batch == 8


def test_the_first_look_above_warns_and_the_next_halves() -> None:
    guard = MemoryGuard(1000, 8)
    assert kinds(guard, 801, 801) == ["warn", "halve 4"]
    assert guard.micro_batch == 4


def test_after_a_warning_a_later_look_above_halves_too() -> None:
    assert kinds(MemoryGuard(1000, 8), 850, 700, 700, 850) == ["warn", None, None, "halve 4"]


def test_the_look_after_a_halving_decides_nothing() -> None:
    # its window may hold steps from before the halving
    assert kinds(MemoryGuard(1000, 8), 950, 950, 950, 850, 850, 820) == [
        "warn",
        "halve 4",
        None,
        "halve 2",
        None,
        "halve 1",
    ]


def test_micro_batches_are_halved_rounding_up() -> None:
    guard, seen = MemoryGuard(1000, 7), [7]
    for used in (990, 980, 970, 940, 900, 860, 850, 820):
        advice = guard.look(used)
        if advice is not None and advice.kind == "halve":
            seen.append(advice.micro_batch)
    assert seen == [7, 4, 2, 1]


def test_a_halving_that_does_not_lower_the_peak_is_the_last() -> None:
    guard = MemoryGuard(1000, 32, held_mb={"model": 300, "optimizer": 600})
    assert kinds(guard, 950, 950, 950, 940, 960, 990) == ["warn", "halve 16", None, "helpless", None, None]
    assert guard.micro_batch == 16


def test_a_micro_batch_of_one_is_helpless_once() -> None:
    guard = MemoryGuard(1000, 1)
    assert kinds(guard, 900, 900, 900, 990) == ["warn", "helpless", None, None]


def test_the_floor_is_kept() -> None:
    guard = MemoryGuard(1000, 6, floor=4)
    assert kinds(guard, 990, 990, 900, 850, 990) == ["warn", "halve 4", None, "helpless", None]


def test_whether_a_halving_helped_is_judged_when_it_has_shown_not_when_memory_is_short_again() -> None:
    # 700 MB after the halving: it helped. What takes 950 MB later is a longer batch.
    assert kinds(MemoryGuard(1000, 8), 900, 900, 0, 700, 700, 950) == [
        "warn",
        "halve 4",
        None,
        None,
        None,
        "halve 2",
    ]


def test_a_micro_batch_lowered_by_others_is_given_time_too() -> None:
    guard = MemoryGuard(1000, 8)
    assert kinds(guard, 900) == ["warn"]
    guard.lowered(4)
    assert kinds(guard, 900, 870, 860) == [None, "halve 2", None]
    guard.lowered(2)  # as it is
    assert kinds(guard, 830) == ["halve 1"]


def message(guard: MemoryGuard, *used: float) -> str:
    said: Advice | None = None
    for mb in used:
        said = guard.look(mb) or said
    assert said is not None
    assert "\n" not in said.message
    assert said.message.endswith(".")
    return said.message


def test_messages_have_figures_and_say_what_to_do() -> None:
    guard = MemoryGuard(8000, 4, held_mb={"model": 440, "optimizer": 880, "data": 111})
    assert message(guard, 6500) == (
        "memory reached 6,500 MB, 81% of the 8,000 MB budget; if it stays so, the micro-batch of 4 is halved "
        "(the batch stays as it is)."
    )
    assert message(guard, 6800) == (
        "memory reached 6,800 MB, 85% of the 8,000 MB budget: the micro-batch goes from 4 to 2, and a step takes "
        "more of them (the batch stays as it is)."
    )
    assert message(guard, 6800, 6750) == (
        "memory reached 6,750 MB, 84% of the 8,000 MB budget, and halving the micro-batch to 2 did not lower it, "
        "so it stays there. What no micro-batch makes smaller takes it: model 440 MB, optimizer 880 MB, "
        "data 111 MB. Raise --max-memory-mb, or take a smaller model (--set model.hidden=…), shorter inputs "
        "(--set model.max_length=…) or fewer sessions (--sample-ratio)."
    )
    assert "already as small as it gets" in message(MemoryGuard(1000, 1), 900)
    assert ", and the micro-batch is already 1. What" in message(MemoryGuard(1000, 1), 900, 900)


looks = st.lists(st.floats(0, 2000), max_size=40)


@given(st.integers(1, 512), looks)
def test_any_looks_lower_the_micro_batch_by_halves_and_say_each_thing_once(
    micro_batch: int, used: list[float]
) -> None:
    guard, now, said = MemoryGuard(1000, micro_batch), micro_batch, []
    for mb in used:
        advice = guard.look(mb)
        if advice is not None:
            said.append(advice.kind)
            expected = halved(now) if advice.kind == "halve" else now
            assert advice.micro_batch == guard.micro_batch == expected
            assert mb > 800
            now = expected
    assert said.count("warn") <= 1
    assert said.count("helpless") <= 1
    assert not said or said[0] == "warn"
    assert "helpless" not in said[:-1], "nothing follows it"
    assert said.count("halve") <= micro_batch.bit_length()


@given(st.integers(1, 64), looks)
def test_a_guard_that_goes_on_from_its_state_says_the_same(micro_batch: int, used: list[float]) -> None:
    guard, other = MemoryGuard(1000, micro_batch), MemoryGuard(1000, micro_batch)
    for mb in used:
        saved = msgspec.json.encode(other.state)
        other = MemoryGuard(1000, 1, state=msgspec.json.decode(saved, type=MemoryState))
        assert other.look(mb) == guard.look(mb)


REAL = """
import json, sys
import numpy as np
import torch
from logbert_engine.hardware.peak import PeakMeter
from logbert_engine.models.device import Compute, free_memory
from logbert_engine.models.encoder import logits_at, new_model
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.types import Encoder
from logbert_engine.training.memory import MemoryGuard

torch.set_num_threads(1)
compute = Compute(device=torch.device("cpu"), precision="fp32", name="CPU")
vocabulary = Vocabulary(events=list(range(50)), reserved=2)
model = new_model(Encoder(hidden=64, layers=2, heads=4, max_length=128), vocabulary, 1)
ids_BT = torch.randint(8, 60, (32, 128))
wanted_BT = torch.rand(32, 128) < 0.5
def step(micro_batch):
    for rows in range(0, 32, micro_batch):
        part = slice(rows, rows + micro_batch)
        logits_MV = logits_at(model, ids_BT[part], wanted_BT[part], None)
        torch.nn.functional.cross_entropy(logits_MV, ids_BT[part][wanted_BT[part]]).backward()
    model.zero_grad(set_to_none=True)
meter = PeakMeter()
step(1); free_memory(compute); meter.take()
step(1)
least = meter.take()
step(32)
most = meter.take()
free_memory(compute); meter.take()
guard = MemoryGuard((least + 0.4 * (most - least)) / 0.8, 32)
said, peaks = [], []
for _ in range(9):
    step(guard.micro_batch)
    peaks.append(meter.take())
    advice = guard.look(peaks[-1])
    if advice is not None:
        said.append([advice.kind, advice.micro_batch])
        free_memory(compute)
        meter.take()
print(json.dumps({"least": least, "most": most, "said": said, "peaks": peaks}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak between two looks is exact on Linux")
def test_halving_brings_a_real_models_memory_below_the_budget() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REAL], check=True, capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    found = json.loads(done.stdout)
    least, most, peaks = found["least"], found["most"], found["peaks"]
    assert most > least + 40, "activations of 32 sessions at once"
    assert found["said"][:2] == [["warn", 32], ["halve", 16]]
    assert [kind for kind, _ in found["said"]] == ["warn"] + ["halve"] * (len(found["said"]) - 1)
    assert peaks[0] > least + 0.4 * (most - least) >= peaks[-1]
