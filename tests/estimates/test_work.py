"""How much there is to do follows from a look at the data."""

from __future__ import annotations

import pytest

from logbert_engine.estimates.asking import config_of
from logbert_engine.estimates.work import visits_of, work_of
from logbert_engine.protocol.messages import DataSummary, RunSpec


def summary(**changed: object) -> DataSummary:
    plain: dict[str, object] = {
        "path": "/logs",
        "files": 4,
        "bytes": 1,
        "peeked_sessions": 1000,
        "peeked_distinct": 1000,
        "peeked_distinct_half": 500,
        "distinct_events": 40,
        "median_length": 18,
        "mean_length": 20.0,
        "longest": 90,
        "estimated_sessions": 10_000,
    }
    return DataSummary(**(plain | changed))  # type: ignore[arg-type]


def test_sessions_that_are_all_different_are_each_visited() -> None:
    assert sum(visits_of(5000, summary(), 4)) == pytest.approx(5000)


def test_sessions_that_are_all_alike_are_visited_once_in_so_many() -> None:
    assert sum(visits_of(5000, summary(peeked_distinct=1, peeked_distinct_half=1), 4)) == pytest.approx(
        1251, abs=1
    )


def test_new_sequences_become_rarer_as_they_did_in_the_look() -> None:
    """Twice the sessions had 1.5 times the sequences, so ten times as many have 3.84 times as many."""
    found = sum(visits_of(10_000, summary(peeked_distinct=300, peeked_distinct_half=200), 1 << 30))
    assert found == pytest.approx(300 * 10**0.585, rel=0.01)


def test_stages_grow_with_their_share() -> None:
    work = work_of(
        config_of(RunSpec(data="/logs", run_dir="/run", preset="test", progressive=True)), summary()
    )
    used = 10_000 * 0.01  # preset test uses 1% of the sessions, of five files, and holds a tenth of those out
    assert [stage.ratio for stage in work.stages] == [pytest.approx(k / 10) for k in range(1, 11)]
    assert work.stages[-1].sessions == pytest.approx(used * 0.9)
    assert work.stages[4].steps == pytest.approx(work.stages[-1].steps / 2, rel=0.15)
    assert work.stages[-1].steps == pytest.approx(2 * used * 0.9 / 8, rel=0.1)  # two epochs, batches of eight


def test_long_sessions_are_read_in_windows() -> None:
    spec = RunSpec(data="/logs", run_dir="/run", preset="test")
    short, long = (work_of(config_of(spec), summary(mean_length=n, longest=5 * n)) for n in (200.0, 2000.0))
    assert (short.longest, long.longest) == (256, 256)
    assert long.tokens <= 256
    assert long.stages[0].steps == pytest.approx(short.stages[0].steps * 2000 / 254, rel=0.1)


def test_a_share_of_the_files_is_a_share_of_the_sessions() -> None:
    spec = RunSpec(data="/logs", run_dir="/run", preset="test", max_files=1, sample_ratio=1.0)
    assert work_of(config_of(spec), summary()).sessions == pytest.approx(2500)


def test_without_data_there_are_no_stages_and_the_longest_input_is_taken() -> None:
    work = work_of(config_of(RunSpec(data="", run_dir="", preset="small")), None)
    assert (work.stages, work.longest, work.tokens) == ((), 512, 512)
    assert "no data were named" in work.assumed[0]


def test_a_decoder_counts_steps() -> None:
    work = work_of(config_of(RunSpec(data="", run_dir="", preset="m4max-large")), None)
    assert (work.tokens, work.stages[0].steps, work.stages[0].batch) == (1536, 200_000, 64)


def test_an_epoch_ends_with_a_batch_that_is_not_full() -> None:
    spec = RunSpec(data="/logs", run_dir="/run", preset="full", max_files=0)
    few = summary(
        files=1, estimated_sessions=40, peeked_sessions=40, peeked_distinct=40, peeked_distinct_half=20
    )
    (stage,) = work_of(config_of(spec), few).stages
    assert stage.steps == 10 * 2  # ten epochs of 36 sessions, in batches of 32


def test_few_long_sessions_among_short_ones_are_cut() -> None:
    spec = RunSpec(data="/logs", run_dir="/run", preset="test", sample_ratio=1.0)
    lengths = [18] * 36 + [800] * 4
    data = summary(
        files=1, mean_length=96.2, distinct_mean_length=96.2, distinct_lengths=lengths, longest=800
    )
    (stage,) = work_of(config_of(spec), data).stages
    pieces = 9000 * (0.9 + 0.1 * 4)  # 800 events are four windows of 254
    assert stage.steps == pytest.approx(2 * pieces / 8, rel=0.01)


def test_sessions_that_are_alike_count_less_in_the_mean_length() -> None:
    """Nine tenths are one sequence of 5 events, the others are all different, of 100."""
    spec = RunSpec(data="/logs", run_dir="/run", preset="demo", max_files=0)
    data = summary(
        files=1,
        peeked_distinct=101,
        peeked_distinct_half=51,
        mean_length=14.5,
        distinct_mean_length=99.06,
        longest=100,
        estimated_sessions=1000,
    )
    work = work_of(config_of(spec), data)
    assert 20 < work.tokens < 60
    assert work.events_each == 14.5
    assert work.sessions == 1000  # all that the files hold, whatever share of them is used
