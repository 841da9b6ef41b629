"""Judging sessions of the results."""

from __future__ import annotations

import time

import msgspec
import pytest

from logbert_engine.protocol.errors import TriageError
from logbert_engine.protocol.results import GiveVerdict, ReadResult, ReadResults, SessionResult, UndoVerdict
from logbert_engine.triage.database import Triage
from logbert_engine.triage.verdicts import signature


def session(number: int, events: list[str] | None) -> SessionResult:
    return SessionResult(
        session_id=number,
        anomaly_score=9.0 - number,
        is_anomaly=True,
        surprisal=1.0,
        length=2,
        reason="odd",
        identical=2 if events == ["E1", "E2"] else 1,
        signature=signature(events) if events else "",
    )


@pytest.fixture
def results(run):
    """Two sessions of the same events, one of others, and one whose events were not kept."""
    path = run.root / "results" / "eval.json"
    path.parent.mkdir()
    events = [["E1", "E2"], ["E9"], ["E1", "E2"], None]
    path.write_bytes(msgspec.json.encode([session(i, each) for i, each in enumerate(events)]))
    return path


async def judged(client, path):
    page = await client.call("read_results", ReadResults(output=str(path)))
    return [row.verdict for row in page.rows]


async def test_a_verdict_settles_all_sessions_of_the_same_events_and_can_be_taken_back(
    engine, follow, run, results
):
    client = (await follow()).client
    assert await judged(client, results) == ["", "", "", ""]
    done = await client.call("give_verdict", GiveVerdict(output=str(results), rank=2, verdict="normal"))
    assert done.message == "session 2 and 1 more of the same events: normal from now on"
    assert await judged(client, results) == ["normal", "", "normal", ""]
    detail = await client.call("read_result", ReadResult(output=str(results), rank=0))
    assert detail.verdict == "normal"
    done = await client.call("undo_verdict", UndoVerdict(output=str(results)))
    assert done.message == "taken back: “normal from now on” for all sessions of the same events"
    assert await judged(client, results) == ["", "", "", ""]
    assert len(Triage(run.triage).history()) == 2, "both are kept"


async def test_ignoring_is_for_one_session_as_is_a_verdict_without_events(engine, follow, results):
    client = (await follow()).client
    await client.call("give_verdict", GiveVerdict(output=str(results), rank=0, verdict="ignore"))
    await client.call("give_verdict", GiveVerdict(output=str(results), rank=3, verdict="anomaly"))
    assert await judged(client, results) == ["ignore", "", "", "anomaly"]


async def test_silence_lasts_as_long_as_is_asked(engine, follow, run, results):
    client = (await follow()).client
    asked = GiveVerdict(output=str(results), rank=1, verdict="suppress", days=2, note="rollout")
    await client.call("give_verdict", asked)
    (change,) = Triage(run.triage).history()
    assert change.until == pytest.approx(time.time() + 2 * 86_400, abs=60)
    assert (change.note, change.target.kind) == ("rollout", "signature")
    assert await judged(client, results) == ["", "suppress", "", ""]
    assert Triage(run.triage).current(change.until + 1).by_signature == {}


async def test_what_cannot_be_judged_is_said(engine, follow, results, tmp_path):
    client = (await follow()).client
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_bytes(results.read_bytes())
    with pytest.raises(TriageError, match="lies in no run directory, where verdicts are kept"):
        await client.call("give_verdict", GiveVerdict(output=str(elsewhere), rank=0, verdict="normal"))
    with pytest.raises(TriageError, match="no verdict of yours to take back"):
        await client.call("undo_verdict", UndoVerdict(output=str(results)))
    assert await judged(client, elsewhere) == ["", "", "", ""]


async def test_damaged_verdicts_are_named_and_left(engine, follow, run, results):
    run.triage.write_bytes(b"not a database, but somebody's notes" * 40)
    before = run.triage.read_bytes()
    client = (await follow()).client
    with pytest.raises(TriageError, match=r"triage\.sqlite"):
        await client.call("give_verdict", GiveVerdict(output=str(results), rank=0, verdict="normal"))
    assert run.triage.read_bytes() == before
