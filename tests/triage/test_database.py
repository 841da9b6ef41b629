from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logbert_engine.protocol.errors import TriageError
from logbert_engine.triage.database import Triage
from logbert_engine.triage.verdicts import Judgement, Target, Verdict, signature

SAME = signature([1, 2, 3])
USERS = ["ana", "bo"]


@pytest.fixture
def triage(tmp_path: Path) -> Triage:
    return Triage(tmp_path / "triage.sqlite")


def test_a_verdict_is_there_for_the_next_who_opens_the_file(triage: Triage):
    given = triage.record(Target("session", 5), "anomaly", who="ana", note="höher", now=100.5)
    again = Triage(triage.path)
    assert again.history() == [given]
    assert again.current(now=101.0).of(5, SAME) == given
    assert (given.seq, given.act, given.when, given.who, given.note) == (1, 1, 100.5, "ana", "höher")


@pytest.mark.parametrize("name", [5, "5", -1, 2**63, 10**40, "", "\ud800x", "a'b\"c\n", "\x00"])
def test_ids_stay_what_they_were(triage: Triage, name: int | str):
    triage.record(Target("session", name), "normal", who="ana")
    triage.record(Target("session", "other"), "anomaly", who="ana")
    (change,) = triage.history(Target("session", name))
    assert change.target.id == name
    assert type(change.target.id) is type(name)
    found = triage.current().of(name, SAME)
    assert found is not None
    assert found.verdict == "normal"


def test_nothing_is_made_by_looking(triage: Triage):
    assert triage.history() == []
    assert triage.current().of(1, SAME) is None
    assert triage.undo(who="ana") == []
    assert triage.record_many([], who="ana") == []
    assert list(triage.path.parent.iterdir()) == []


def test_each_user_undoes_their_own_last_change(triage: Triage):
    triage.record(Target("session", 1), "normal", who="ana", now=1.0)
    triage.record(Target("session", 1), "anomaly", who="bo", now=2.0)
    triage.record(Target("session", 2), "ignore", who="ana", now=3.0)
    (undo,) = triage.undo(who="ana", now=4.0)
    assert (undo.undoes, undo.verdict, undo.target, undo.when) == (3, "ignore", Target("session", 2), 4.0)
    (undo,) = triage.undo(who="ana", now=5.0)
    assert undo.undoes == 1
    assert triage.undo(who="ana") == []
    held = triage.current(now=6.0)
    assert {name: change.verdict for name, change in held.by_session.items()} == {1: "anomaly"}
    assert [change.undoes for change in triage.history(Target("session", 1))] == [None, None, 1]


def test_verdicts_given_together_are_undone_together(triage: Triage):
    triage.record(Target("session", 0), "normal", who="ana")
    many = [Judgement(target=Target("session", i), verdict="anomaly") for i in range(50)]
    given = triage.record_many(many, who="ana")
    assert {change.act for change in given} == {2}
    assert len(triage.undo(who="ana")) == 50
    assert list(triage.current().by_session) == [0]


def test_of_verdicts_given_together_one_that_makes_no_sense_stops_all(triage: Triage):
    wrong = Judgement(target=Target("signature", SAME), verdict="ignore")
    with pytest.raises(TriageError, match="one session only"):
        triage.record_many([Judgement(target=Target("session", 1), verdict="normal"), wrong], who="ana")
    assert not triage.path.exists()


def test_who_and_when_are_asked_for(triage: Triage):
    with pytest.raises(TriageError, match="name of who"):
        triage.record(Target("session", 1), "normal", who=" ")
    with pytest.raises(TriageError, match="not a time"):
        triage.record(Target("session", 1), "normal", who="ana", now=float("nan"))


def test_bytes_that_are_no_text_are_spelled_out(triage: Triage):
    change = triage.record(Target("session", 1), "normal", who="ana\udcff", note="\ud800")
    assert (change.who, change.note) == ("ana\\udcff", "\\ud800")
    assert triage.history() == [change]
    assert len(triage.undo(who="ana\udcff")) == 1


def test_the_order_of_changes_holds_when_the_clock_goes_back(triage: Triage):
    triage.record(Target("session", 1), "normal", who="ana", now=1000.0)
    triage.record(Target("session", 1), "anomaly", who="ana", now=10.0)
    assert triage.current(now=10.0).by_session[1].verdict == "anomaly"


def test_the_audit_cannot_be_changed_even_by_hand(triage: Triage):
    triage.record(Target("session", 1), "normal", who="ana")
    with closing(sqlite3.connect(triage.path)) as connection:
        for statement in ("UPDATE changes SET who = 'bo'", "DELETE FROM changes"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                connection.execute(statement)
    assert triage.history()[0].who == "ana"


def test_the_journal_mode_is_wal_and_nothing_else_is_left_behind(triage: Triage):
    triage.record(Target("session", 1), "normal", who="ana")
    assert [path.name for path in triage.path.parent.iterdir()] == ["triage.sqlite"]
    with closing(sqlite3.connect(triage.path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_folder_with_an_odd_name_holds_one_too(tmp_path: Path):
    triage = Triage(tmp_path / "a b?c#%41" / "triage.sqlite")
    triage.record(Target("session", 1), "normal", who="ana")
    assert len(Triage(triage.path).history()) == 1
    assert triage.path.exists()


Operation = tuple[str, str, Sequence[tuple[Target, Verdict]]]
targets = st.builds(Target, st.just("session"), st.sampled_from([1, "1", 2])) | st.just(
    Target("signature", SAME)
)
verdicts = st.sampled_from(["normal", "anomaly", "suppress"])
operations = st.tuples(
    st.sampled_from(["record", "record", "undo"]),
    st.sampled_from(USERS),
    st.lists(st.tuples(targets, verdicts), min_size=1, max_size=3),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(operations, max_size=10))
def test_what_holds_is_what_was_said_and_not_taken_back(steps: list[Operation]):
    said: list[tuple[str, list[tuple[Target, Verdict, float | None]]]] = []
    with tempfile.TemporaryDirectory() as folder:
        triage = Triage(Path(folder) / "triage.sqlite")
        rows = 0
        for time, (what, who, given) in enumerate(steps):
            if what == "record":
                untils = [time + 2.5 if verdict == "suppress" else None for _, verdict in given]
                entry = [(t, v, until) for (t, v), until in zip(given, untils, strict=True)]
                triage.record_many(
                    [Judgement(target=t, verdict=v, until=until) for t, v, until in entry], who=who, now=time
                )
                said.append((who, entry))
                rows += len(entry)
            else:
                mine = [i for i, (user, _) in enumerate(said) if user == who]
                undone = triage.undo(who=who, now=time)
                taken = said.pop(mine[-1])[1] if mine else []
                assert [(c.target, c.verdict) for c in undone] == [(t, v) for t, v, _ in taken]
                rows += len(taken)
            expected = {t: v for _, entry in said for t, v, until in entry if until is None or until > time}
            held = triage.current(now=time)
            found = {c.target: c.verdict for c in (*held.by_session.values(), *held.by_signature.values())}
            assert found == expected
        assert [change.seq for change in triage.history()] == list(range(1, rows + 1))
