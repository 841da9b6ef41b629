"""The injector itself: it does what it says, where it says, as often as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.harness import Fault, environment

LIBRARY = """
class Tool:
    @staticmethod
    def double(value):
        return value * 2

    def third(self, value):
        return value / 3
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "tools.py").write_text(LIBRARY)
    return tmp_path / "lib"


def run(code: str, library: Path, *faults: Fault, **more: str) -> subprocess.CompletedProcess[str]:
    """With ``-P``, as workers are started."""
    env = environment(*faults, **more)
    env["PYTHONPATH"] += f":{library}"
    return subprocess.run(
        [sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=False
    )


def test_a_method_misbehaves_on_the_call_that_was_named_and_no_other(library: Path, tmp_path: Path) -> None:
    fault = Fault("tools:Tool.third", "nan", tmp_path / "marks", call=2)
    done = run("from tools import Tool\nprint(*(Tool().third(x) for x in (3, 3, 3)))", library, fault)
    assert done.stdout.split() == ["1.0", "nan", "1.0"], done.stderr
    assert len(fault.happened()) == 1


def test_a_static_method_and_a_condition(library: Path, tmp_path: Path) -> None:
    fault = Fault("tools:Tool.double", "memory_error", tmp_path / "marks", when="args[0] == 7")
    done = run("from tools import Tool\nprint(Tool.double(6))\nTool.double(7)", library, fault)
    assert done.stdout.split() == ["12"]
    assert done.stderr.strip().endswith("MemoryError")


def test_it_happens_as_often_as_told_over_all_processes(library: Path, tmp_path: Path) -> None:
    fault = Fault("tools:Tool.double", "os_error", tmp_path / "marks", times=2, error="ENOSPC")
    code = "from tools import Tool\ntry:\n    Tool.double(1)\nexcept OSError as e:\n    print(e.errno)"
    assert [run(code, library, fault).stdout.strip() for _ in range(3)] == ["28", "28", ""]
    assert len(set(fault.happened())) == 2


def test_other_ranks_and_other_commands_are_left_alone(library: Path, tmp_path: Path) -> None:
    second = Fault("tools:Tool.double", "memory_error", tmp_path / "second", rank=1)
    other = Fault("tools:Tool.double", "memory_error", tmp_path / "other", process="another_program")
    code = "from tools import Tool\nprint(Tool.double(1))"
    assert run(code, library, second, other).stdout == "2\n"
    assert run(code, library, second, other, RANK="1").returncode == 1


def test_modules_that_python_has_loaded_before_are_patched_too(library: Path, tmp_path: Path) -> None:
    fault = Fault("os:fsync", "os_error", tmp_path / "marks")
    assert "Input/output error" in run("import os\nos.fsync(1)", library, fault).stderr


def test_a_process_can_be_made_to_kill_itself_after_its_work(library: Path, tmp_path: Path) -> None:
    fault = Fault("os:mkdir", "signal", tmp_path / "marks", signal="SIGKILL", after=True)
    done = run(f"import os\nos.mkdir({str(tmp_path / 'made')!r})", library, fault)
    assert done.returncode == -9
    assert (tmp_path / "made").is_dir()


def test_the_clock_moves_and_the_monotonic_one_does_not(library: Path, tmp_path: Path) -> None:
    fault = Fault("tools:Tool.double", "clock", tmp_path / "marks", amount=-86_400.0)
    code = (
        "import json, time\nfrom tools import Tool\n"
        "before = time.time(), time.monotonic()\nTool.double(1)\n"
        "print(json.dumps([time.time() - before[0], time.monotonic() - before[1]]))"
    )
    moved, passed = json.loads(run(code, library, fault).stdout)
    assert moved == pytest.approx(-86_400, abs=60)
    assert 0 <= passed < 60


def test_steps_of_an_optimizer_are_counted_and_memory_errors_are_torchs(
    library: Path, tmp_path: Path
) -> None:
    device = Fault("tools:Tool.double", "device_memory", tmp_path / "device", step=3)
    cpu = Fault("tools:Tool.third", "cpu_memory", tmp_path / "cpu")
    code = """
import torch
from tools import Tool
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.AdamW([weight])
for step in range(5):
    try:
        Tool.double(1)
    except torch.OutOfMemoryError:
        print("device", step)
    weight.sum().backward()
    optimizer.step()
try:
    Tool().third(1)
except RuntimeError as error:
    print("allocate memory" in str(error))
"""
    done = run(code, library, device, cpu)
    assert done.stdout.split() == ["device", "3", "True"], done.stderr


def test_a_mark_that_is_still_being_written_does_not_count(tmp_path: Path) -> None:
    fault = Fault("tools:Tool.third", "nan", tmp_path, times=2)
    (tmp_path / "0").write_text("12 0\n")
    (tmp_path / "1").touch()
    assert fault.happened() == [12]
