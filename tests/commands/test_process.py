"""The command line as a process: interrupted early, and where characters are few."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

INTERRUPTED = """
import os, runpy, signal, sys
at, module = sys.argv[1:3]
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == at:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
sys.argv[:] = [module, *sys.argv[3:]]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Ctrl-C at the moment when a module is about to be imported."""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("logbert_engine.commands.dispatch", ["status"]),
        ("argparse", ["status"]),
        ("logbert_engine.commands.status", ["status"]),
        ("logbert_engine.rundir.registry", ["status"]),
    ],
)
def test_ctrl_c_while_modules_are_imported_ends_a_command_quietly(at: str, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, at, "logbert_engine", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_what_the_terminal_cannot_show_is_replaced_and_the_command_goes_on() -> None:
    words = [sys.executable, "-m", "logbert_engine", "presets", "list"]
    plain = subprocess.run(words, capture_output=True, check=True, env={**os.environ, **ASCII})
    full = subprocess.run(
        words, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"}
    )
    assert plain.stderr == b""
    assert plain.stdout.decode() == full.stdout.decode().encode("ascii", "replace").decode()
    assert plain.stdout != full.stdout
