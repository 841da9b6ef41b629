"""The distance to the nearest ordinary bag against a plain count of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from logbert_engine.data.normals import Normals
from logbert_engine.detection import nearest
from logbert_engine.detection.nearest import Nearest
from logbert_engine.models.vocabulary import UNK

Session = Sequence[int]
FIRST = UNK + 10
SESSION = st.lists(st.sampled_from([UNK, *range(FIRST, FIRST + 6)]), min_size=1, max_size=9)
SESSIONS = st.lists(SESSION, min_size=1, max_size=8)


def laid(sessions: Sequence[Session]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """One behind the other."""
    tokens = np.array([event for session in sessions for event in session], dtype=np.int32)
    return tokens, np.concatenate(([0], np.cumsum([len(session) for session in sessions]))).astype(np.int64)


def normals(sessions: Sequence[Session], counts: Sequence[int] = ()) -> Normals:
    tokens, offsets = laid(sessions)
    return Normals(tokens=tokens, offsets=offsets, counts=np.array(counts or [1] * len(sessions)))


def distances(known: Nearest, sessions: Sequence[Session]) -> list[float]:
    found: list[float] = known.distances(*laid(sessions)).tolist()
    return found


def plainly(ordinary: Sequence[Session], session: Session) -> float:
    """One bag after another."""
    bags = {tuple(sorted(other)) for other in ordinary}
    known = {event for bag in bags for event in bag}

    def vector(events: Session) -> dict[int, float]:
        # an id beyond those of the ordinary sessions has no place of its own
        counts = Counter(event if event <= max(known) else UNK for event in events)
        held = {event: sum(event in bag for bag in bags) for event in counts}
        return {
            event: math.log(1 + n) * (math.log((1 + len(bags)) / (1 + held[event])) + 1)
            for event, n in counts.items()
        }

    def cosine(one: dict[int, float], other: dict[int, float]) -> float:
        lengths = [math.sqrt(sum(value**2 for value in each.values())) for each in (one, other)]
        return sum(value * other.get(event, 0.0) for event, value in one.items()) / math.prod(lengths)

    return 1 - max(cosine(vector(session), vector(bag)) for bag in bags)


@given(SESSIONS, SESSIONS)
def test_distances_are_those_that_are_found_one_by_one(
    ordinary: list[list[int]], later: list[list[int]]
) -> None:
    found = distances(Nearest(normals(ordinary)), later)
    assert found == pytest.approx([plainly(ordinary, session) for session in later], abs=3e-6)
    assert all(0 <= distance <= 1 for distance in found)


@given(SESSIONS, st.randoms(use_true_random=False))
def test_what_holds_the_events_of_an_ordinary_session_in_any_order_is_none_away(
    ordinary: list[list[int]], rng: object
) -> None:
    turned = [rng.sample(session, len(session)) for session in ordinary]  # type: ignore[attr-defined]
    assert distances(Nearest(normals(ordinary)), turned) == [0.0] * len(ordinary)


def test_it_grows_with_what_differs_up_to_one_with_nothing_in_common() -> None:
    known = Nearest(normals([[FIRST, FIRST + 1, FIRST + 2], [FIRST + 3] * 4]))
    some = [
        [FIRST, FIRST + 1, FIRST + 2, FIRST + 2],
        [FIRST, FIRST + 1],
        [FIRST, FIRST + 4],
        [FIRST + 4] * 9,
        [10**6],
    ]
    found = distances(known, some)
    assert found == sorted(found)
    assert len(set(found[:4])) == 4
    assert found[0] > 0
    assert found[3:] == [1.0, 1.0]


@pytest.mark.parametrize("events", [30, 5000])
def test_what_else_is_looked_at_does_not_matter(events: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few ids, and more of them than there are columns."""
    rng = np.random.default_rng(2)
    drawn = [(FIRST + rng.integers(0, events, rng.integers(1, 40))).tolist() for _ in range(400)]
    known, later = Nearest(normals(drawn[:250])), drawn[250:]
    together = distances(known, later)
    assert 0.05 < np.mean(together) < 0.95
    assert [distances(known, [session])[0] for session in later] == pytest.approx(together, abs=1.1e-6)
    turned = rng.permutation(len(later))
    again = distances(known, [later[i] for i in turned])
    assert again == pytest.approx([together[i] for i in turned], abs=1.1e-6)
    monkeypatch.setattr(nearest, "_AT_ONCE", 7)
    assert distances(known, later) == pytest.approx(together, abs=1.1e-6)
    other_way = Nearest(normals(drawn[249::-1]))
    assert distances(other_way, later) == pytest.approx(together, abs=1.1e-6)


def test_of_more_ids_than_columns_those_beyond_share_one_and_the_others_are_told_apart() -> None:
    ids = [[FIRST + i] for i in range(6000)]
    known = Nearest(normals(ids))
    assert distances(known, ids[::7]) == [0.0] * len(ids[::7])
    few = Nearest(normals([[FIRST], [FIRST + 5000]]))
    assert distances(few, [[FIRST], [FIRST + 5000], [FIRST + 1], [FIRST + 5001]]) == [0.0, 0.0, 1.0, 1.0]
    assert distances(few, [[10**9, 10**9 + 1]])[0] <= 1


def test_the_bags_of_most_sessions_are_kept_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "MOST_BAGS", 2)
    a, b, c = [FIRST, FIRST + 1], [FIRST + 2], [FIRST + 3]
    known = Nearest(normals([c, a, b, [FIRST + 1, FIRST]], [3, 2, 9, 2]))
    assert distances(known, [a, b]) == [0.0, 0.0], "four sessions hold the first, in one order or the other"
    assert distances(known, [c]) == [1.0]


def test_others_are_compared_with_in_place_of_the_ordinary_ones() -> None:
    ordinary, others = [[FIRST, FIRST + 1], [FIRST + 2]], [[FIRST + 2, FIRST], [FIRST + 1]]
    known = Nearest(normals(ordinary))
    later = [[FIRST, FIRST + 2], [FIRST + 1], [FIRST, FIRST + 1], [FIRST + 2]]
    found = known.distances(*laid(later), laid(others)).tolist()
    assert found[:2] == [0.0, 0.0]
    assert 0 < found[2] < 1
    assert 0 < found[3] < 1
    assert distances(known, later)[2:] == [0.0, 0.0], "the ordinary ones are known as before"
    # an event weighs what it does among the ordinary ones: each is held by one bag of two
    assert found[2] == pytest.approx(1 - 1 / math.sqrt(2), abs=2e-6)
