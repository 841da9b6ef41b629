"""Row 2: SIGKILL at each point of a save. The previous or the new file loads, never neither."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest

from tests.faults.killed_saves import FOLLOWING
from tests.faults.models import SAVES

pytestmark = pytest.mark.row(2)

# What a kill has to hit in each save, whatever else it does: the file, its sums, their folder.
NAMED = [
    "before open checkpoints/.{name}.tmp",
    "in the middle of write checkpoints/.{name}.tmp",
    "before sync checkpoints/.{name}.tmp",
    "before open checkpoints/.SHA256SUMS.tmp",
    "in the middle of write checkpoints/.SHA256SUMS.tmp",
    "before sync checkpoints/.SHA256SUMS.tmp",
    "before rename checkpoints/.SHA256SUMS.tmp to checkpoints/SHA256SUMS",
    "before sync folder checkpoints",
    "before rename checkpoints/.{name}.tmp to checkpoints/{name}",
    "before sync folder checkpoints, number 2",
    "after all",
]
NAMED_OF_RESUME = [
    "before link checkpoints/resume.pt to checkpoints/.resume.pt.old.tmp",
    "before rename checkpoints/.resume.pt.old.tmp to checkpoints/resume.previous.pt",
    "before remove checkpoints/.resume.pt.old.tmp",
]


def killed(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.killed_saves", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(told: list[dict[str, Any]]) -> None:
    """Every kill happened, left the old or the new state, and did not keep the next save from succeeding."""
    assert {kill["what"] for kill in told} == SAVES.keys()
    for kill in told:
        assert kill["signal"] == 9, kill
        assert kill["error"] == "", kill
        old, new = kill["before"], kill["before"] + 1
        may_be_gone = kill["what"] == "best_model" and kill["point"].startswith("before rename")
        assert kill["found"] in ((old, new, 0) if may_be_gone else (old, new)), kill
        assert kill["then"] == FOLLOWING, kill
    for (what, before), kills in groupby(told, lambda kill: (kill["what"], kill["before"])):
        found = [kill["found"] for kill in kills if kill["found"] or not before]
        assert (found[0], found[-1]) == (before, before + 1), what
        assert found == sorted(found), "what is saved stays saved"


def test_a_save_killed_at_each_point_leaves_the_old_or_the_new_file(
    record_property: Callable[[str, object], None],
) -> None:
    told = killed()
    check(told)
    points = {(kill["what"], kill["before"], kill["point"]) for kill in told}
    for name in ("resume.pt", "best_model.pt"):
        for point in NAMED:
            assert (name, 2, point.format(name=name)) in points
    for point in NAMED_OF_RESUME:
        assert ("resume.pt", 2, point) in points
    record_property("kills", len(told))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_save_killed_at_every_single_write_leaves_the_old_or_the_new_file(
    record_property: Callable[[str, object], None],
) -> None:
    told = killed("every")
    check(told)
    assert len(told) > 1000
    record_property("kills", len(told))
