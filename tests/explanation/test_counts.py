from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.explanation.bags import Bags
from logbert_engine.explanation.counts import CountRow, differing
from logbert_engine.explanation.lengths import LengthRow, measured
from tests.explanation.building import normals_of, tokens

sequences = st.lists(st.integers(0, 5), min_size=1, max_size=8)


def test_an_event_too_many_is_the_first_row():
    bags = Bags(normals_of([[11] * 3 + [7], [11] * 3 + [7, 7], [11] * 2 + [7], [11] * 4 + [7]]))
    assert differing(tokens(11, 11, 11, 11, 11, 7), bags) == [CountRow(11, 5, 3, 2, 4)]


def test_what_is_absent_is_a_row_too():
    bags = Bags(normals_of([[1, 2, 3]], [5]))
    assert differing(tokens(1, 2), bags) == [CountRow(3, 0, 1, 1, 1)]
    assert differing(tokens(1, 2, 3, 8), bags) == [CountRow(8, 1, 0, 0, 0)]


def test_a_session_like_all_others_has_no_row():
    assert differing(tokens(2, 1, 3), Bags(normals_of([[1, 2, 3], [3, 2, 1]]))) == []


def test_far_sessions_are_not_asked_where_enough_are_near():
    near = [[1, 2, 3 + i] for i in range(10)]
    rows = differing(tokens(1, 1, 2), Bags(normals_of([*near, [9] * 40], [1] * 10 + [999])))
    assert rows[0] == CountRow(1, 2, 1, 1, 1)
    assert all(row.event != 9 for row in rows)


@given(st.lists(sequences, min_size=1, max_size=20), sequences, st.integers(1, 12))
def test_rows_hold_the_median_and_the_range_of_the_nearest_bags(known, query, k):
    bags = Bags(normals_of(known))
    near = []
    for bag in bags.nearest(tokens(*query), k).tolist():
        kinds, counts = bags.contents(bag)
        near.append(dict(zip(kinds.tolist(), counts.tolist(), strict=True)))
    rows = differing(tokens(*query), bags, k)
    expected = {}
    for event in set(query) | {event for bag in near for event in bag}:
        there = sorted(bag.get(event, 0) for bag in near)
        row = CountRow(event, Counter(query)[event], there[(len(there) - 1) // 2], there[0], there[-1])
        if row.here != row.median:
            expected[event] = row
    assert {row.event: row for row in rows} == expected

    def unusual(row: CountRow) -> tuple[int, int, int | str]:
        outside = max(row.here - row.highest, row.lowest - row.here, 0)
        return (-outside, -abs(row.here - row.median), row.event)

    assert rows == sorted(rows, key=unusual)


def test_a_length_is_placed_among_those_of_the_sessions():
    normals = normals_of([[1] * 20, [1] * 3, [1] * 2, [1] * 50], [9_990, 2, 1, 7])
    assert measured(3, normals) == LengthRow(3, 20, 3, 10_000)
    assert measured(21, normals) == LengthRow(21, 20, 7, 10_000)
    assert measured(60, normals) == LengthRow(60, 20, 0, 10_000)
    assert measured(1, normals).as_extreme == 0
