"""The resident peak between two looks, in processes of their own that take and give back real memory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from logbert_engine.hardware.peak import PeakMeter

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="Linux lets the mark be started again"
)

SETTING = """
import json, mmap, sys
from pathlib import Path
from logbert_engine.hardware.peak import PeakMeter
def hold(mb):
    block = mmap.mmap(-1, mb << 20)
    for _ in range(mb):
        block.write(bytes(1 << 20))
    return block
meter = PeakMeter(Path(sys.argv[1]))
seen = []
"""


def looks(script: str, process: Path = Path("/proc/self")) -> list[float]:
    command = [sys.executable, "-c", SETTING + script + "\nprint(json.dumps(seen))", str(process)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT)
    found: list[float] = json.loads(done.stdout)
    return found


@pytest.fixture
def refusing(tmp_path: Path) -> Path:
    """A process whose high-water mark can be read but not be started again."""
    (tmp_path / "status").symlink_to("/proc/self/status")
    (tmp_path / "clear_refs").mkdir()
    return tmp_path


@linux
def test_memory_held_and_given_back_between_two_looks_is_seen_once() -> None:
    quiet, peak, after = looks(
        "seen.append(meter.take()); block = hold(200); block.close();"
        "seen.append(meter.take()); seen.append(meter.take()); assert meter.exact"
    )
    assert quiet + 195 < peak < quiet + 215
    assert after < quiet + 15


@linux
def test_memory_that_stays_is_in_every_look() -> None:
    quiet, *later = looks(
        "seen.append(meter.take()); block = hold(100); seen += [meter.take(), meter.take(), meter.take()]"
    )
    assert all(quiet + 95 < peak < quiet + 115 for peak in later)


@linux
def test_a_lower_peak_after_a_higher_one_is_seen() -> None:
    quiet, high, low = looks(
        "seen.append(meter.take());"
        "hold(200).close(); seen.append(meter.take()); hold(100).close(); seen.append(meter.take())"
    )
    assert high > quiet + 195
    assert quiet + 95 < low < quiet + 115


@linux
def test_where_the_mark_cannot_be_started_again_a_new_record_is_still_seen(refusing: Path) -> None:
    quiet, record, after = looks(
        "assert not meter.exact; seen.append(meter.take()); hold(200).close();"
        "seen.append(meter.take()); seen.append(meter.take())",
        refusing,
    )
    assert quiet + 195 < record < quiet + 215
    assert after < quiet + 15


def test_below_the_record_the_largest_sample_stands_for_the_peak(tmp_path: Path) -> None:
    quiet, unseen, seen, held = looks(
        "hold(300).close(); meter.take(); seen.append(meter.take());"
        "hold(100).close(); seen.append(meter.take());"
        "block = hold(100); meter.sample(); block.close(); seen.append(meter.take());"
        "block = hold(100); meter.take(); seen.append(meter.take())",
        tmp_path / "no procfs here",
    )
    assert unseen < quiet + 15, "between samples, and below the record: nothing tells"
    assert quiet + 95 < seen < quiet + 115
    assert quiet + 95 < held < quiet + 115


@linux
def test_a_mark_that_can_no_longer_be_started_again_makes_way_for_samples(tmp_path: Path) -> None:
    for name in ("status", "clear_refs"):
        (tmp_path / name).symlink_to(f"/proc/self/{name}")
    quiet, peak, after = looks(
        "seen.append(meter.take()); refs = Path(sys.argv[1]) / 'clear_refs'; refs.unlink(); refs.mkdir();"
        "hold(100).close(); seen.append(meter.take()); assert not meter.exact; seen.append(meter.take())",
        tmp_path,
    )
    assert quiet + 95 < peak < quiet + 115
    assert after < quiet + 15


def test_a_look_costs_next_to_nothing() -> None:
    meter = PeakMeter()
    seconds = []
    for _ in range(200):
        begin = time.perf_counter()
        assert meter.take() > 1
        seconds.append(time.perf_counter() - begin)
    assert statistics.median(seconds) < 2e-3
