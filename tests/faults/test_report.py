"""The report tells what happened, and what did not."""

from __future__ import annotations

import re

import pytest

from tests.faults.report import ROWS, outcomes, run_tests, table

CONFTEST = "from tests.faults.conftest import pytest_collection_modifyitems\n"
TESTS = """
import pytest

@pytest.mark.row(1)
@pytest.mark.parametrize("kills", [120, 80])
def test_kept(record_property, kills):
    record_property("kills", kills)
    record_property("lag", "3 ms")

@pytest.mark.row(2)
def test_broken():
    assert False

@pytest.mark.row(2, 3)
def test_of_two_rows():
    pass

@pytest.mark.row(4)
@pytest.mark.skip(reason="not here")
def test_left_out():
    pass

@pytest.mark.row(5)
@pytest.mark.slow
def test_takes_long():
    pass

@pytest.fixture
def broken():
    raise OSError

@pytest.mark.row(6)
def test_cannot_begin(broken):
    pass
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("suite")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_some.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    row\n    slow\n")
    results = folder / "results.xml"
    assert run_tests(folder, results, fast=True) == 1
    return table(outcomes(results))


def test_every_row_is_there_once_and_ends_in_its_verdict(lines: list[str]) -> None:
    assert [int(line.split()[0]) for line in lines] == [row.number for row in ROWS] == list(range(1, 27))
    assert all(line.endswith(("passed", "failed")) for line in lines)


@pytest.mark.parametrize(
    ("row", "told", "verdict"),
    [
        (1, "2 tests; 200 kills, lag 3 ms", "passed"),
        (2, "2 tests; failed: test_broken", "failed"),
        (3, "1 test", "passed"),
        (4, "0 tests; only skipped tests", "failed"),
        (5, "0 tests; no test", "failed"),
        (6, "1 test; failed: test_cannot_begin", "failed"),
        (7, "0 tests; no test", "failed"),
    ],
)
def test_a_row_is_kept_only_where_something_was_tested_and_nothing_failed(
    lines: list[str], row: int, told: str, verdict: str
) -> None:
    *_, details, end = re.split(r"  +", lines[row - 1])
    assert (details, end) == (told, verdict)


def test_some_rows_are_run_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("suite")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_some.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    row\n    slow\n")
    results = folder / "results.xml"
    assert run_tests(folder, results, fast=True, rows=[1, 3]) == 0
    found = outcomes(results)
    assert {number: outcome.passed for number, outcome in found.items()} == {1: 2, 2: 1, 3: 1}
    assert [line.split()[0] for line in table(found, [1, 3])] == ["1", "3"]
