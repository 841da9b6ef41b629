"""Workers outlive who starts them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from logbert_engine.protocol.errors import RunError, StorageError
from logbert_engine.rundir import registry
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.supervision.launch import launch, supervisor_command

STARTS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.supervision.launch import launch
process = launch(RunLayout(Path(sys.argv[1])), command=[sys.executable, "-c", sys.argv[2]])
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
LIVES_ON = """
import os, sys
open('lived_on', 'w').write(f'{os.getpid()} {os.getsid(0)}')
print('said', file=sys.stderr)
"""


def test_a_worker_goes_on_in_a_session_of_its_own_when_its_starter_is_killed(run, tmp_path, wait_until):
    done = subprocess.run(
        [sys.executable, "-c", STARTS_AND_DIES, str(run.root), LIVES_ON],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    sign = tmp_path / "lived_on"
    wait_until(lambda: sign.exists() and sign.read_text() == f"{pid} {pid}")
    wait_until(lambda: run.worker_errors.read_text() == "said\n")


def test_errors_of_several_workers_are_kept_and_the_run_is_remembered(run):
    for word in ("one", "two"):
        process = launch(run, command=[sys.executable, "-c", f"import sys; sys.exit('{word}')"])
        assert process.wait() == 1
    assert run.worker_errors.read_text() == "one\ntwo\n"
    assert registry.known_runs() == [run.root.resolve()]


def test_what_a_worker_prints_and_reads_goes_nowhere(run):
    code = "import os, sys; print('x'); sys.exit(sys.stdin.read() or os.isatty(1))"
    assert launch(run, command=[sys.executable, "-c", code]).wait() == 0


def test_the_worker_does_not_import_from_the_working_directory(run, tmp_path):
    (tmp_path / "random.py").write_text("raise SystemExit('mistaken for the library')")
    words = [*supervisor_command(run, restart_stage=True), "--help"]
    assert words[-2:] == ["--restart-stage", "--help"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--restart-stage" in done.stdout


def test_a_program_that_is_not_there_and_a_directory_that_cannot_be_written_are_said(run, tmp_path):
    with pytest.raises(RunError, match="cannot be started"):
        launch(run, command=[str(tmp_path / "nothing")])
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        launch(RunLayout(tmp_path / "file" / "run"), command=["true"])
