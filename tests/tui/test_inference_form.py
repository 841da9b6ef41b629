from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.messages import CheckpointInfo, InferenceProgress
from logbert_engine.protocol.results import ResultDetail, ResultRow, ResultsPage, SessionResult
from logbert_tui.screens.inference_form import default_output, make_spec, parse_alarm, parse_inputs
from logbert_tui.screens.inference_panels import progress_row
from logbert_tui.screens.session import header_rows
from logbert_tui.widgets.heat_strip import column_of, heat_bar, heat_columns
from logbert_tui.widgets.result_rows import result_columns, summary_spans
from logbert_tui.widgets.session_rows import SessionRows, probability


def test_an_alarm_is_a_score_or_a_share() -> None:
    assert parse_alarm("2.0") == (2.0, None)
    assert parse_alarm(" -1.5 ") == (-1.5, None)
    assert parse_alarm("0.5 %") == (None, pytest.approx(0.005))
    for wrong in ("", "high", "0%", "100%", "nan", "inf", "1e400"):
        with pytest.raises(LogbertError, match="such as"):
            parse_alarm(wrong)


def test_inputs_are_paths_with_spaces_quoted() -> None:
    assert parse_inputs("/a '/b c'") == ["/a", "/b c"]
    assert parse_inputs("~/logs", home="/home/ana") == ["/home/ana/logs"]
    assert parse_inputs("here")[0] == str(Path.cwd() / "here")
    with pytest.raises(LogbertError, match="quote each path"):
        parse_inputs("/a 'b")
    with pytest.raises(LogbertError, match="no input"):
        parse_inputs("  ")


def test_the_output_is_named_after_its_input_and_never_replaces_other_results() -> None:
    checkpoint = CheckpointInfo(path="/run/s/best.pt", label="best", stage=3)
    assert default_output("/run", "/data/day.json.gz", checkpoint, ()) == "/run/results/day_stage_3.json"
    assert default_output("/run", "/a/x /b/y", None, ()) == "/run/results/x_and_1_more.json"
    taken = {"/run/results/x_stage_3.json", "/run/results/x_stage_3_2.json"}
    assert default_output("/run", "/a/x", checkpoint, taken) == "/run/results/x_stage_3_3.json"
    with pytest.raises(LogbertError, match="no checkpoint yet"):
        make_spec("", "/a", "/b", "2.0")


def test_adapting_needs_a_share() -> None:
    assert make_spec("/c", "/a", "/b", "0.5%", adapt=True).adapt
    assert not make_spec("/c", "/a", "/b", "0.5%").adapt
    with pytest.raises(LogbertError, match=r"the score 2\.0 means nothing.*switch adapt off"):
        make_spec("/c", "/a", "/b", "2.0", adapt=True)


def test_no_peak_is_lost_however_narrow_the_strip() -> None:
    surprisals = [0.1] * 1000
    surprisals[617] = 9.0
    for width in (1, 7, 60, 120, 999, 1000, 2000):
        columns = heat_columns(surprisals, width)
        assert len(columns) == min(width, 1000)
        assert columns[column_of(617, 1000, width)] == 9.0


def test_a_bar_is_as_long_as_its_surprisal() -> None:
    assert heat_bar(7.0, 14.0, 8).text == "████    "
    assert heat_bar(0.0, 14.0, 8).text == " " * 8
    assert heat_bar(float("inf"), 14.0, 8).text == "█" * 8
    assert [heat_bar(value, 14.0, 8).tone for value in (0.5, 3.0, 5.0, 9.0)] == [
        "heat-1",
        "heat-2",
        "heat-3",
        "heat-4",
    ]


def test_text_of_a_session_cannot_steer_the_terminal() -> None:
    session = SessionResult(
        session_id=1,
        anomaly_score=1.0,
        is_anomaly=False,
        threshold=2.0,
        surprisal=0.1,
        length=3,
        reason="",
        event_sequence=["\x1b[2J", "E2", 9],
        surprisals=[0.1, 0.2, 0.3],
    )
    rows = SessionRows(ResultDetail(rank=0, session=session, templates={"E2": "a\x1b]52;c;x\x07b"}))
    for index in range(rows.count):
        text = "".join(span.text for span in rows.row(index, 80))
        assert text.isprintable()


def test_results_of_a_budget_say_so_where_others_have_their_threshold() -> None:
    page = ResultsPage(
        output="/r.json", total=500, anomalies=2, mean=0, deviation=1, lowest=-1, highest=9, offset=0, rows=[]
    )
    by_budget = msgspec.structs.replace(page, budget=0.001, false_alarm_rate=0.002)
    said = "".join(text for row in summary_spans(by_budget, 200) for text, _ in row)
    assert "budget 0.1% (alarms on ≈0.2% of ordinary sessions)" in said
    assert "threshold" not in said
    drifted = msgspec.structs.replace(
        by_budget, drift="the calibration does not hold for these sessions: " + "x " * 300
    )
    rows = summary_spans(drifted, 60)
    assert "The calibration does not hold" in rows[-4][0][0]
    assert all(sum(len(text) for text, _ in row) <= 60 for row in rows[-4:])
    by_threshold = msgspec.structs.replace(page, threshold=2.0)
    said = "".join(text for row in summary_spans(by_threshold, 200) for text, _ in row)
    assert "threshold 2.00" in said
    assert "budget" not in said


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_the_interval_of_false_alarms_is_told_in_as_many_words_as_there_is_room_for(width: int) -> None:
    page = ResultsPage(
        output="/r.json", total=500, anomalies=2, mean=0, deviation=1, lowest=-1, highest=9, offset=0, rows=[]
    )
    by_budget = msgspec.structs.replace(
        page, budget=0.001, false_alarm_rate=0.0011, false_alarm_span=(0.00021, 0.0036)
    )
    rows = ["".join(text for text, _ in row) for row in summary_spans(by_budget, width)]
    assert all(len(row) <= width for row in rows)
    assert "≈0.11%" in " ".join(rows)
    assert "0.021% to 0.36%" in " ".join(rows)
    assert ("with 95% confidence" in " ".join(rows)) == (width >= 100)


def test_what_is_to_be_minded_is_cut_to_its_first_words_where_there_is_no_room() -> None:
    page = ResultsPage(
        output="/r.json",
        total=500,
        anomalies=2,
        mean=0,
        deviation=1,
        lowest=-1,
        highest=9,
        offset=0,
        rows=[],
        tails="far out the values of bag do not fall off as assumed: the order is rough",
        unused="1 file is not read to the end, so sessions are missing; the first: /a.json",
    )
    full, brief = (
        ["".join(text for text, _ in row) for row in summary_spans(page, 120, brief=brief)]
        for brief in (False, True)
    )
    assert full[-2:] == [f" ▲ {words[0].upper()}{words[1:]}" for words in (page.tails, page.unused)]
    assert brief[-2:] == [
        " ▲ Far out the values of bag do not fall off as assumed",
        " ▲ 1 file is not read to the end, so sessions are missing",
    ]


def test_a_session_found_by_budget_is_shown_with_its_p_value() -> None:
    session = SessionResult(
        session_id=1, anomaly_score=1.0, is_anomaly=True, surprisal=0.1, length=3, reason="", p_value=0.00213
    )
    for limit, shown, other in ((None, "p 0.0021", "threshold"), (2.0, "threshold 2.00", "p 0.0021")):
        detail = ResultDetail(rank=0, session=msgspec.structs.replace(session, threshold=limit), templates={})
        said = "".join(text for text, _ in header_rows(detail, 5, 120)[0])
        assert shown in said
        assert other not in said


def test_probabilities_have_as_many_digits_as_they_need() -> None:
    assert [probability(p) for p in (1.0, 0.72, 0.0996, 0.0123, 0.0004, 0.00001)] == [
        "100%",
        "72%",
        "10%",
        "1.2%",
        "0.04%",
        "<0.01%",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_progress_fits_its_line(width: int) -> None:
    progress = InferenceProgress(id=1, phase="scoring", done=1_234_567, total=2_464_136)
    row = progress_row(progress, width)
    assert sum(len(text) for text, _ in row) <= width
    assert any("1,234,567 of 2,464,136" in text for text, _ in row)


def test_within_a_budget_the_list_shows_the_evidence_that_it_is_ranked_by() -> None:
    row = ResultRow(
        rank=0, session_id="a", anomaly_score=-0.6, is_anomaly=True, length=3, reason="r", evidence=5.25
    )
    for by_evidence, title, text in ((True, "evidence", "5.25"), (False, "score", "-0.60")):
        column = result_columns([row], 1, 100, by_evidence=by_evidence)[1]
        assert (column.title, column.text(row)) == (title, text)
