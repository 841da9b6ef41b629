"""The console's state: a fold over what the engine says."""

from __future__ import annotations

from collections import Counter

from logbert_engine.protocol.events import Log
from logbert_engine.protocol.locations import program
from logbert_engine.protocol.messages import InferenceProgress, Resources, Subscribed, Welcome
from logbert_engine.protocol.runstate import RunState
from logbert_tui.app import parting_words
from logbert_tui.state import UNSEEN, ConsoleState, Part

RUN_DIR = "/home/ana/runs/a"


def welcome(home="/home/ana"):
    return Welcome(
        protocol=1, engine_version="0", engine_id="x", pid=1, started_at=0.0, default_run_dir="/r", home=home
    )


def followed(events):
    state = ConsoleState()
    state.follow(RUN_DIR)
    state.subscribed(Subscribed(run_dir=RUN_DIR, seq=0, snapshot=RunState()))
    assert state.apply(RUN_DIR, events)
    return state


def test_events_in_parts_give_the_same_run_as_all_at_once(story):
    events = story(full=2, share=0.5)
    whole = followed(events)
    parts = followed(events[:7])
    for start in range(7, len(events), 11):
        assert parts.apply(RUN_DIR, events[start : start + 11])
    assert parts.run == whole.run


def test_events_that_were_seen_already_change_nothing(story):
    events = story()
    state = followed(events)
    before = state.run.curve.step.copy(), state.versions.copy()
    assert state.apply(RUN_DIR, events[-20:])
    assert (state.run.curve.step, state.versions) == before


def test_a_missing_event_is_noticed_and_nothing_after_it_is_taken_in(story):
    events = story()
    state = followed(events[:10])
    assert not state.apply(RUN_DIR, events[11:])
    assert state.seq == 10


def test_events_of_another_run_are_left_alone(story):
    state = followed(story())
    seq = state.seq
    assert state.apply("/elsewhere", [Log(seq=seq + 1, t=1.0, level="info", message="not ours")])
    assert state.seq == seq


def test_turning_to_another_run_forgets_the_first_and_the_same_run_is_kept(story):
    state = followed(story())
    state.follow(RUN_DIR)
    assert state.run is not None
    state.follow("/elsewhere")
    assert (state.run, state.seq) == (None, 0)


def test_an_answer_without_snapshot_keeps_what_is_known(story):
    state = followed(story())
    seq = state.seq
    state.subscribed(Subscribed(run_dir=RUN_DIR, seq=seq))
    assert state.seq == seq


def test_a_screen_hears_of_each_part_once(story):
    state = ConsoleState()
    seen: Counter[Part] = Counter()
    state.set_resources(Resources(cpu_percent=1.0, memory_mb=2.0, memory_used_mb=1.0))
    state.set_resources(Resources(cpu_percent=2.0, memory_mb=2.0, memory_used_mb=1.0))
    state.set_inference(InferenceProgress(id=3, phase="scoring", done=1, total=9))
    assert state.changed_since(seen) == {"resources", "inference"}
    assert state.changed_since(seen) == set()
    assert state.inference[3].done == 1


def test_metrics_and_other_events_are_told_apart(story):
    events = story(share=0.4)
    state = followed(events[:-1])
    seen: Counter[Part] = Counter()
    state.changed_since(seen)
    state.apply(RUN_DIR, events[-1:])
    assert state.changed_since(seen) == {"metric"}
    state.apply(RUN_DIR, [Log(seq=state.seq + 1, t=1.0, level="info", message="a line")])
    assert state.changed_since(seen) == {"run"}


def test_the_same_loss_of_the_engine_is_told_once():
    state = ConsoleState()
    state.disconnected("no engine answers")
    version = state.versions["connection"]
    state.disconnected("no engine answers")
    assert state.versions["connection"] == version
    state.connected(welcome())
    assert (state.connection, state.connection_problem) == ("connected", "")
    assert state.notices == []


def test_notices_are_dismissed_together_and_once():
    state = ConsoleState()
    state.notice("the disk is full", "error")
    assert state.notices[-1].text == "The disk is full"
    assert state.dismiss()
    assert not state.dismiss()


def test_what_was_said_by_the_way_goes_and_errors_stay():
    state = ConsoleState()
    for severity, left in (("info", []), ("warning", ["The disk is full"]), ("error", ["The disk is full"])):
        state.notice("the disk is full", severity)
        said_at = state.notices[0].t
        state.expire(said_at + 7)
        assert len(state.notices) == 1
        state.expire(said_at + 9)
        assert [notice.text for notice in state.notices] == left


def test_an_older_error_does_not_come_back_when_a_newer_sentence_has_gone():
    state = ConsoleState()
    state.notice("the disk is full", "error")
    state.notice("resuming")
    state.expire(state.notices[-1].t + 9)
    assert state.notices == []


def test_an_error_goes_when_the_run_is_in_another_phase_and_stays_while_it_is_not(story):
    events = story(end="paused")
    state = followed(events[:-2])
    state.notice("the disk is full", "error")
    assert state.apply(RUN_DIR, events[-2:-1])
    assert len(state.notices) == 1
    assert state.apply(RUN_DIR, events[-1:])
    assert state.notices == []


def test_an_error_goes_when_a_fresh_snapshot_has_another_phase(story):
    state = followed(story())
    state.notice("the disk is full", "error")
    state.subscribed(Subscribed(run_dir=RUN_DIR, seq=0, snapshot=followed(story()).run))
    assert len(state.notices) == 1
    state.subscribed(Subscribed(run_dir=RUN_DIR, seq=0, snapshot=followed(story(end="paused")).run))
    assert state.notices == []


def test_leaving_says_that_training_goes_on_and_how_to_come_back(story):
    state = followed(story())
    state.connected(welcome())
    assert parting_words(state) == f"Training goes on; come back with: {program('logbert-tui')} ~/runs/a"


def running(number: int, run_dir: str = RUN_DIR) -> InferenceProgress:
    return InferenceProgress(id=number, phase="scoring", done=1, total=9, run_dir=run_dir)


def test_leaving_says_that_scoring_goes_on_while_the_engine_is_there(story):
    state = followed(story(end="paused"))
    state.connected(welcome())
    state.set_inference(running(3))
    back = f"{program('logbert-tui')} ~/runs/a --inference"
    assert parting_words(state) == f"Scoring goes on; come back with: {back}"
    state.run = followed(story()).run
    assert parting_words(state) == f"Training and scoring go on; come back with: {back}"
    state.disconnected("no engine answers")
    assert "coring" not in parting_words(state)


def test_what_is_being_scored_is_that_of_the_run_which_is_followed(story):
    state = followed(story())
    assert state.scoring is None
    for progress in (running(1), running(2), running(3, "/elsewhere")):
        state.set_inference(progress)
    assert state.scoring == running(2)
    state.follow("/elsewhere")
    assert state.scoring == running(3, "/elsewhere")


def test_a_subscription_says_what_is_being_scored_and_so_what_has_ended(story):
    state = followed(story())
    for progress in (running(1), running(2), running(3, "/elsewhere")):
        state.set_inference(progress)
    state.subscribed(Subscribed(run_dir=RUN_DIR, seq=state.seq, inferences=[running(2), running(4)]))
    assert {number: (p.state, p.message) for number, p in state.inference.items()} == {
        1: ("failed", UNSEEN),
        2: ("running", ""),
        3: ("running", ""),
        4: ("running", ""),
    }


def test_leaving_a_run_that_ended_does_not_claim_that_it_trains(story):
    state = followed(story(end="paused"))
    assert parting_words(state) == f"The run is kept; open it again with: {program('logbert-tui')} {RUN_DIR}"


def test_a_run_directory_that_a_shell_would_split_is_quoted():
    state = ConsoleState()
    state.follow("/data/my runs/a")
    assert parting_words(state).endswith("logbert-tui '/data/my runs/a'")


def test_leaving_without_a_run_says_nothing():
    assert parting_words(ConsoleState()) == ""
