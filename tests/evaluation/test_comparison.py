from __future__ import annotations

import html
import re

import msgspec
import numpy as np
import pytest

from logbert_engine.evaluation.bootstrap import MEASURES
from logbert_engine.evaluation.comparison import Expected, compare, decode, encode
from logbert_engine.evaluation.detections import Detector, sample_of
from logbert_engine.evaluation.metrics import evaluate_on
from logbert_engine.evaluation.page import render_page
from logbert_engine.evaluation.table import WIDTH, table
from logbert_engine.evaluation.wording import amount, counts, facts, false_alarms, figure, measures, rate
from logbert_engine.protocol.errors import EvaluationError
from tests.evaluation.conftest import Draw


def alarms(name: str, kind: str, alarm: list[bool]) -> Detector:
    array = np.array(alarm)
    return Detector(name, kind, array.astype(np.float64), array)  # type: ignore[arg-type]


def test_every_slice_has_every_detector_with_figures_and_intervals(draw: Draw) -> None:
    sample, detectors = draw()
    steps: list[tuple[int, int]] = []
    found = compare(
        sample, detectors, data="drawn", resamples=50, report=lambda done, whole: steps.append((done, whole))
    )
    assert [part.name for part in found.slices] == ["all", "unique", "unseen", "seen"]
    for part in found.slices:
        assert [row.detector for row in part.rows] == [detector.name for detector in detectors]
        assert all(set(row.intervals) == set(MEASURES) for row in part.rows)
        assert part.sessions + sum(part.excluded.values()) == len(sample)
    assert found.row("LogBERT").figures == evaluate_on(sample, detectors[0])
    assert steps[-1] == (12, 12)
    for name, interval in found.row("LogBERT").intervals.items():
        assert interval is not None
        assert interval.low <= getattr(found.row("LogBERT").figures, name) <= interval.high, name


def test_the_comparison_survives_json_and_the_same_seed_gives_the_same(draw: Draw) -> None:
    sample, detectors = draw()
    found = compare(sample, detectors, data="drawn", resamples=50, excluded={"without a label": 3})
    assert decode(encode(found)) == found
    assert encode(
        compare(sample, detectors, data="drawn", resamples=50, excluded={"without a label": 3})
    ) == (encode(found))
    plain = msgspec.json.decode(encode(found))
    assert plain["data"]["excluded"] == {"without a label": 3}
    with pytest.raises(EvaluationError, match="no evaluation"):
        decode(b"[]")


def test_a_clear_lead_over_the_best_floor_is_told_plainly() -> None:
    label = np.array([1] * 100 + [0] * 900, dtype=np.int8)
    sample = sample_of(label, np.arange(1000))
    model = alarms("LogBERT", "model", [True] * 98 + [False] * 2 + [True] + [False] * 899)
    weak = alarms("length", "floor", [True] * 10 + [False] * 990)
    better = alarms("2-gram", "floor", [True] * 60 + [False] * 940)
    found = compare(sample, [weak, model, better], data="made")
    assert found.floor_beaten
    assert found.best_floor == "2-gram"
    assert found.sentence == "F1 .985 against .750 of the best simple rule (2-gram): above"
    assert found.slices[0].rows[0].detector == "LogBERT"
    assert "floor beaten: yes" in table(found)


def test_a_lead_within_the_interval_is_told_as_one() -> None:
    label = np.array([1] * 100 + [0] * 900, dtype=np.int8)
    sample = sample_of(label, np.arange(1000))
    model = alarms("LogBERT", "model", [True] * 90 + [False] * 910)
    floor = alarms("2-gram", "floor", [True] * 89 + [False] * 911)
    found = compare(sample, [model, floor], data="made")
    assert found.floor_beaten
    assert (
        found.sentence
        == "F1 .947 against .942 of the best simple rule (2-gram): above, but within the interval"
    )


def test_a_model_that_the_floor_equals_or_passes_has_not_beaten_it() -> None:
    label = np.array([1] * 50 + [0] * 50, dtype=np.int8)
    sample = sample_of(label, np.arange(100))
    model = alarms("LogBERT", "model", [True] * 10 + [False] * 90)
    same = compare(sample, [model, alarms("length", "floor", [True] * 10 + [False] * 90)], data="made")
    assert not same.floor_beaten
    assert same.sentence.endswith(": equal")
    below = compare(sample, [model, alarms("length", "floor", [True] * 45 + [False] * 55)], data="made")
    assert not below.floor_beaten
    assert below.sentence.endswith(": below")
    assert "floor beaten: no" in table(below)


@pytest.mark.parametrize(
    ("false", "where"),
    [(5, "within"), (0, "within"), (14, "within"), (40, "above")],
    ids=["within", "as far as 1,000 can tell", "a little above", "above"],
)
def test_false_alarms_stand_beside_what_calibration_expects(false: int, where: str) -> None:
    sample = sample_of(np.array([1] * 10 + [0] * 1000, dtype=np.int8), np.arange(1010))
    model = alarms("LogBERT", "model", [True] * (10 + false) + [False] * (1000 - false))
    expected = Expected(share=0.005, low=0.001, high=0.012, held_out=2400)
    found = compare(sample, [model], data="made", resamples=20, expected=expected)
    told = false_alarms(found)
    assert told.startswith(
        f"false alarms: {rate(false / 1000)} of the normal sessions here; 0.5% were expected"
    )
    assert "2,400 held out from training, 0.1–1.2% with 95% confidence" in told
    assert told.endswith(f": {where}")
    assert told in " ".join(table(found))
    assert told in render_page(found, sample, [model])
    assert false_alarms(compare(sample, [model], data="made", resamples=20)) == ""


def test_without_anomalies_or_floor_nothing_is_beaten() -> None:
    model = alarms("LogBERT", "model", [True] + [False] * 9)
    floor = alarms("length", "floor", [False] * 10)
    normal = sample_of(np.zeros(10, dtype=np.int8), np.arange(10))
    found = compare(normal, [model, floor], data="made", resamples=20)
    assert (found.floor_beaten, found.best_floor) == (False, None)
    assert "without a labelled anomaly" in found.sentence
    labelled = sample_of(np.array([1] + [0] * 9, dtype=np.int8), np.arange(10))
    alone = compare(labelled, [model], data="made", resamples=20)
    assert not alone.floor_beaten
    assert "no floor" in alone.sentence


def test_what_cannot_be_compared_is_refused() -> None:
    sample = sample_of(np.array([0, 1], dtype=np.int8), np.arange(2))
    model = alarms("one", "model", [True, False])
    with pytest.raises(EvaluationError, match="no model"):
        compare(sample, [alarms("one", "floor", [True, False])], data="made")
    with pytest.raises(EvaluationError, match="same name"):
        compare(sample, [model, model], data="made")
    with pytest.raises(EvaluationError, match="no labelled session"):
        compare(sample.take(np.arange(0)), [model], data="made")


@pytest.mark.parametrize("sessions", [7, 3000])
@pytest.mark.parametrize("weight", [1.0, 33.6, 123_456.7])
def test_the_table_fits_a_terminal_of_100_columns(draw: Draw, sessions: int, weight: float) -> None:
    sample, detectors = draw(sessions, normal_weight=weight)
    detectors.append(
        Detector(
            "a rule of a name that is longer than a column", "floor", detectors[0].score, ~detectors[0].alarm
        )
    )
    found = compare(sample, detectors, data="a name " * 30, resamples=30, excluded={"unreadable " * 12: 3})
    lines = table(found)
    assert max(map(len, lines)) <= WIDTH == 100
    assert sum(line.startswith("floor beaten: ") for line in lines) == 2
    assert any("3 unreadable" in line for line in lines)


def test_the_table_shows_the_oracle_apart_and_as_optimistic(draw: Draw) -> None:
    sample, detectors = draw()
    found = compare(sample, detectors, data="drawn", resamples=30)
    lines = table(found)
    at = next(i for i, line in enumerate(lines) if "oracle" in line)
    assert "optimistic" in lines[at]
    oracle = found.row("LogBERT").figures.oracle_f1
    assert lines[at + 1].split() == ["LogBERT", figure(oracle)]
    assert not any("oracle" in line for line in lines[:at])
    first = next(line for line in lines if line.startswith("LogBERT"))
    own = found.row("LogBERT").figures
    assert first.split()[1:4] == [figure(own.f1), figure(own.precision), figure(own.recall)]
    assert re.search(r"left out of “unique sequences”: [\d,]+ repeats", "\n".join(lines))


def test_the_verdict_is_the_first_after_the_title_and_the_last(draw: Draw) -> None:
    sample, detectors = draw()
    expected = Expected(share=0.005, low=0.001, high=0.012, held_out=2400)
    found = compare(sample, detectors, data="drawn", resamples=30, expected=expected)
    lines = table(found)
    assert lines[0] == "Evaluation of LogBERT on drawn"
    assert lines[1] == "floor beaten: no"
    assert " ".join(lines[2 : lines.index("")]) == f"{found.sentence} {false_alarms(found)}"
    assert lines[-2:] == ["floor beaten: no", found.sentence]


def test_what_to_mind_of_the_figures_stands_before_them_on_table_page_and_in_json(draw: Draw) -> None:
    sample, detectors = draw()
    place = f"/{'long/' * 40}rejected.ndjson"
    unused = f"2 records could not be used; the first: record 7 of <a.json>: it holds no events. All are in {place}"
    found = compare(
        sample,
        detectors,
        data="drawn",
        resamples=30,
        excluded={"could not be used": 2},
        unused=unused,
        not_adapted="not adapted: too few",
    )
    plain = msgspec.json.decode(encode(found))
    assert (plain["data"]["unused"], plain["not_adapted"]) == (unused, "not adapted: too few")
    lines = table(found)
    before = " ".join(lines[: next(i for i, line in enumerate(lines) if line.startswith("all sessions"))])
    for told in (" ".join(before.split()), html.unescape(render_page(found, sample, detectors))):
        assert "Excluded from every figure: 2 could not be used." in told
        assert f"mind: {unused}" in told
        assert "mind: not adapted: too few" in told
    assert place in lines, "whole, so that it can be copied"
    assert "<a.json>" not in render_page(found, sample, detectors)
    quiet = compare(sample, detectors, data="drawn", resamples=30)
    assert "mind: " not in "\n".join(table(quiet)) + render_page(quiet, sample, detectors)


def test_table_and_page_show_the_same_figures(draw: Draw) -> None:
    sample, detectors = draw(normal_weight=33.6)
    found = compare(sample, detectors, data="drawn", resamples=30)
    lines, page = table(found), html.unescape(render_page(found, sample, detectors))
    named = [line.split() for line in lines if line.startswith("LogBERT")]
    row = found.row("LogBERT")
    values, spans = zip(*measures(row), strict=True)
    assert named[0][1:] == list(values)
    assert named[1][1:] == [span for span in spans if span]
    cells = [f"<td>{value}{f'<small>{span}</small>' if span else ''}</td>" for value, span in measures(row)]
    assert "".join(cells) in page
    for sessions, weight in counts(row):
        assert {f"{sessions:,}", weight or f"{sessions:,}"} <= set(named[2])
        assert (f"<small>{weight} weighted</small>" if weight else f"<td>{sessions:,}</td>") in page
    assert "; ".join(facts(found.data)) in " ".join(lines)
    assert " · ".join(facts(found.data)) in page
    assert "each normal session stands for 33.6" in facts(found.data)


def test_figures_are_told_shortly() -> None:
    assert [figure(value) for value in (0.9754, 1.0, 0.99996, 0.0, -0.0001, -0.5, None)] == [
        ".975",
        "1.000",
        "1.000",
        ".000",
        ".000",
        "-.500",
        "–",
    ]
    assert [rate(value) for value in (0.0, 0.000521, 0.12, 1.0, 0.9999, 3e-9, None)] == [
        "0%",
        "0.052%",
        "12%",
        "100%",
        "100%",
        "<0.0001%",
        "–",
    ]
    assert [amount(value) for value in (0.0, 3.44, 812.4, 1_940_000.0, None)] == [
        "0",
        "3.4",
        "812",
        "1,940k",
        "–",
    ]


def test_many_sessions_without_a_false_alarm_are_fewer_than_expected() -> None:
    sample = sample_of(np.array([1] * 10 + [0] * 9000, dtype=np.int8), np.arange(9010))
    model = alarms("LogBERT", "model", [True] * 10 + [False] * 9000)
    expected = Expected(share=0.005, low=0.001, high=0.012, held_out=51, adapted=True)
    told = false_alarms(compare(sample, [model], data="made", resamples=20, expected=expected))
    assert told.endswith(": below")
    assert "51 held out from these" in told
