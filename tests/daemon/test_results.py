"""Reading what inference wrote."""

from __future__ import annotations

import os
import statistics
import time

import msgspec
import pytest

from logbert_engine.protocol.errors import DataError, EngineError
from logbert_engine.protocol.messages import RunRef
from logbert_engine.protocol.results import EventScore, ReadResult, ReadResults, SessionResult
from logbert_engine.protocol.rpc import FRAME_LIMIT


def session(number: int, score: float, **more: object) -> SessionResult:
    fields = {
        "session_id": number,
        "anomaly_score": score,
        "is_anomaly": score > 2.0,
        "threshold": 2.0,
        "surprisal": 0.1,
        "length": 3,
        "reason": "event 5 where 4 was expected",
    }
    return SessionResult(**{**fields, **more})


def write(path, sessions, meta=None):
    path.write_bytes(msgspec.json.encode(sessions))
    if meta is not None:
        path.with_suffix(".meta.json").write_bytes(msgspec.json.encode(meta))
    return path


async def test_sessions_are_ranked_by_score_and_paged(engine, follow, tmp_path):
    scores = [((i * 37) % 101) / 10 for i in range(101)]
    path = write(tmp_path / "results.json", [session(i, s) for i, s in enumerate(scores)])
    client = (await follow()).client
    pages = [
        await client.call("read_results", ReadResults(output=str(path), offset=o, most=40))
        for o in (0, 40, 80)
    ]
    rows = [row for page in pages for row in page.rows]
    assert [row.rank for row in rows] == list(range(101))
    assert [row.anomaly_score for row in rows] == sorted(scores, reverse=True)
    page = pages[0]
    assert (page.total, page.anomalies, page.threshold) == (101, sum(s > 2 for s in scores), 2.0)
    assert page.mean == pytest.approx(statistics.fmean(scores))
    assert page.deviation == pytest.approx(statistics.pstdev(scores))
    assert (page.lowest, page.highest) == (min(scores), max(scores))


async def test_results_of_a_budget_are_ranked_by_their_evidence(engine, follow, tmp_path):
    by_budget = {"threshold": None, "budget": 0.001}
    sessions = [
        session(i, i / 10, evidence=((i * 37) % 101) / 10, p_value=0.5, component="bag", **by_budget)
        for i in range(101)
    ]
    path = write(tmp_path / "results.json", sessions)
    client = (await follow()).client
    page = await client.call("read_results", ReadResults(output=str(path), most=200))
    assert (page.threshold, page.budget) == (None, 0.001)
    ranked = sorted(sessions, key=lambda one: (not one.is_anomaly, -one.evidence))
    assert [row.session_id for row in page.rows] == [one.session_id for one in ranked]
    assert {(row.p_value, row.component) for row in page.rows} == {(0.5, "bag")}
    detail = await client.call("read_result", ReadResult(output=str(path), rank=3))
    assert detail.session == ranked[3]


async def test_alarms_come_first_whatever_people_judged(engine, follow, tmp_path):
    """In the order in which inference writes them."""
    by_budget = {"threshold": None, "budget": 0.001}
    judged = [
        {"is_anomaly": True, "evidence": 9.0},
        {"is_anomaly": False, "evidence": 4.0, "verdict": "normal", "silenced": True},
        {"is_anomaly": True, "evidence": 4.0, "verdict": "anomaly"},
        {"is_anomaly": True, "evidence": 3.0},
        {"is_anomaly": True, "evidence": 8.0, "verdict": "anomaly", "by_verdict": True},
        {"is_anomaly": False, "evidence": 5.0},
        {"is_anomaly": False, "evidence": 5.0, "verdict": "ignore"},
        {"is_anomaly": True, "evidence": 1.0, "verdict": "anomaly", "by_verdict": True},
    ]
    sessions = [session(i, 1.0, **by_budget, **one) for i, one in enumerate(judged)]
    path = write(tmp_path / "results.json", sessions)
    page = await (await follow()).client.call("read_results", ReadResults(output=str(path), most=200))
    assert [row.session_id for row in page.rows] == list(range(8))
    assert page.anomalies == 5


async def test_a_session_comes_whole_with_the_texts_of_its_events(engine, follow, tmp_path):
    highest = [EventScore(position=1, event=5, surprisal=7.0, expected=[(4, 0.9), ("E9", 0.05)])]
    sessions = [
        session(1, 1.0),
        session(2, 9.0, highest=highest, event_sequence=[1, 5], surprisals=[0.1, 7.0]),
    ]
    meta = {"templates": {"1": "start <*>", "4": "ok", "5": "failed <*>", "E9": "retry", "77": "elsewhere"}}
    path = write(tmp_path / "results.json", sessions, meta)
    client = (await follow()).client
    detail = await client.call("read_result", ReadResult(output=str(path), rank=0))
    assert detail.session == sessions[1]
    assert detail.templates == {"1": "start <*>", "4": "ok", "5": "failed <*>", "E9": "retry"}
    with pytest.raises(DataError, match="2 sessions, none of rank 2"):
        await client.call("read_result", ReadResult(output=str(path), rank=2))


async def test_results_that_are_written_again_are_read_again(engine, follow, tmp_path):
    path = write(tmp_path / "results.json", [session(1, 1.0)])
    client = (await follow()).client
    assert (await client.call("read_results", ReadResults(output=str(path)))).total == 1
    write(path, [session(1, 1.0), session(2, 2.0)])
    assert (await client.call("read_results", ReadResults(output=str(path)))).total == 2


async def test_no_results_at_all_are_a_page_without_rows(engine, follow, tmp_path):
    client = (await follow()).client
    page = await client.call("read_results", ReadResults(output=str(write(tmp_path / "r.json", []))))
    assert (page.total, page.rows) == (0, [])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b'[{"session_id": 1}]',
        b"\xff",
        b"[" * 100_000,
        b'[{"session_id":1,"anomaly_score":null}]',
    ],
)
async def test_a_file_that_holds_no_results_is_refused(engine, follow, tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    client = (await follow()).client
    with pytest.raises(DataError, match="holds no results"):
        await client.call("read_results", ReadResults(output=str(path)))


async def test_pipes_directories_missing_and_relative_paths_are_refused(engine, follow, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    client = (await follow()).client
    for path, says in [
        (tmp_path / "pipe", "not a file"),
        (tmp_path, "not a file"),
        (tmp_path / "x", "no results at .* any more"),
    ]:
        with pytest.raises(DataError, match=says):
            await client.call("read_results", ReadResults(output=str(path)))
    with pytest.raises(EngineError, match="not absolute"):
        await client.call("read_results", ReadResults(output="results.json"))


async def test_rows_and_sessions_too_long_for_a_frame_are_cut_to_what_fits(engine, follow, tmp_path):
    long = session(
        1,
        9.0,
        event_sequence=list(range(200_000)),
        surprisals=[0.123456789] * 200_000,
        highest=[EventScore(position=3, event=4, surprisal=1.0)],
    )
    wordy = [session(i, 1.0, reason="x" * 5000) for i in range(2, 600)]
    path = write(tmp_path / "results.json", [long, *wordy])
    client = (await follow()).client
    detail = await client.call("read_result", ReadResult(output=str(path), rank=0))
    assert detail.session.event_sequence is None
    assert detail.session.highest == long.highest
    page = await client.call("read_results", ReadResults(output=str(path), most=1000))
    assert 100 < len(page.rows) < 300
    assert len(msgspec.json.encode(page)) < FRAME_LIMIT


async def test_a_hundred_thousand_sessions_open_while_other_calls_are_answered(engine, follow, tmp_path):
    path = write(tmp_path / "results.json", [session(i, i % 1000 / 100) for i in range(100_000)])
    client, other = (await follow()).client, (await follow()).client
    import asyncio

    start = time.monotonic()
    opening = asyncio.create_task(client.call("read_results", ReadResults(output=str(path))))
    longest = 0.0
    while not opening.done():
        before = time.monotonic()
        await other.call("list_runs")
        longest = max(longest, time.monotonic() - before)
    page = await opening
    print(f"opened in {time.monotonic() - start:.2f} s, the longest other call took {longest:.3f} s")
    assert page.total == 100_000
    assert longest < 1.0
    before = time.monotonic()
    await client.call("read_results", ReadResults(output=str(path), offset=50_000))
    assert time.monotonic() - before < 0.5, "kept"


async def test_a_run_offers_its_best_models_and_its_results(engine, follow, run, workers):
    workers.start(run).wait()
    for name in ("stage_1_50pct", "stage_2_100pct"):
        stage = run.stage(name)
        stage.checkpoints.mkdir(parents=True)
        stage.best.write_bytes(b"weights")
    write(run.root / "results.json", [session(1, 1.0)], {"templates": {}})
    (run.root / "inference").mkdir()
    write(run.root / "inference" / "later.json", [session(1, 1.0)])
    os.utime(run.root / "results.json", (1, 1))
    (run.root / "other.json").write_text("[1, 2]")
    client = (await follow()).client
    options = await client.call("inference_options", RunRef(run_dir=str(run.root)))
    assert [(c.stage, c.valid_loss) for c in options.checkpoints] == [(2, 0.5), (1, 1.0)]
    assert options.checkpoints[0].path == str(run.stage("stage_2_100pct").best)
    assert [f.path for f in options.results] == [
        str(run.root / "inference" / "later.json"),
        str(run.root / "results.json"),
    ]
    assert options.data.endswith("/data")


async def test_the_share_of_ordinary_sessions_that_alarm_comes_with_the_page_where_it_is_known(
    engine, follow, tmp_path
):
    client = (await follow()).client
    known = write(tmp_path / "known.json", [session(1, 1.0)], {"false_alarm_rate": 0.005, "templates": {}})
    unknown = write(tmp_path / "unknown.json", [session(1, 1.0)])
    pages = [await client.call("read_results", ReadResults(output=str(path))) for path in (known, unknown)]
    assert [page.false_alarm_rate for page in pages] == [0.005, None]


async def test_what_is_to_be_minded_of_the_results_comes_with_the_page(engine, follow, tmp_path):
    meta = {"false_alarm_span": [0.001, 0.02], "tails": "far out: rough", "unused": "1 record; the first: a"}
    path = write(tmp_path / "results.json", [session(1, 1.0)], meta)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    page = await (await follow()).client.call("read_results", ReadResults(output=str(path)))
    assert (page.false_alarm_span, page.tails, page.unused) == ((0.001, 0.02), meta["tails"], meta["unused"])
    assert page.written_at == 1_700_000_000


async def test_what_the_file_beside_the_results_tells_is_read_again_when_it_has_changed(
    engine, follow, tmp_path
):
    """Inference writes it after the results, which may have been opened in between."""
    client = (await follow()).client
    path = write(tmp_path / "results.json", [session(1, 1.0)])
    first = await client.call("read_results", ReadResults(output=str(path)))
    path.with_suffix(".meta.json").write_bytes(msgspec.json.encode({"false_alarm_rate": 0.005}))
    second = await client.call("read_results", ReadResults(output=str(path)))
    assert [page.false_alarm_rate for page in (first, second)] == [None, 0.005]
