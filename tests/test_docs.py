"""What the documents say of tests and commands is there."""

from __future__ import annotations

import re

from tests.conftest import ROOT
from tests.faults.report import ROWS

TESTS = re.compile(r"`(tests/[\w/]+\.py)`")
LINE = re.compile(r"^\| (\d+) \| .* \| (.*) \|$", re.MULTILINE)
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()


def test_every_promise_of_the_table_names_tests_of_its_row() -> None:
    lines = {int(number): TESTS.findall(tests) for number, tests in LINE.findall(RELIABILITY)}
    assert sorted(lines) == [row.number for row in ROWS]
    for number, files in lines.items():
        assert files, number
        for file in files:
            assert f"pytest.mark.row({number})" in (ROOT / file).read_text(), file


def test_every_test_that_is_named_is_there() -> None:
    named = TESTS.findall(RELIABILITY)
    assert len(named) > len(ROWS)
    assert [file for file in named if not (ROOT / file).is_file()] == []
