from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.data.normals import Normals
from logbert_engine.explanation import nearest
from logbert_engine.explanation.bags import Bags
from logbert_engine.explanation.nearest import Nearest, Neighbour
from tests.explanation.building import bag_distance, edit_distance, normals_of, tokens

events = st.integers(0, 6) | st.sampled_from([55_290, 2_000_000])
sequences = st.lists(events, min_size=1, max_size=9)
training = st.lists(st.tuples(sequences, st.integers(1, 3)), min_size=1, max_size=25)


@given(training, sequences)
def test_the_neighbour_is_the_one_that_brute_force_finds(known, query):
    normals = normals_of([s for s, _ in known], [c for _, c in known])
    distance, sessions, index = min(
        (edit_distance(query, s), -count, i) for i, (s, count) in enumerate(known)
    )
    assert Nearest(normals).find(tokens(*query)) == Neighbour(index, distance, -sessions)


@given(training, sequences)
def test_a_search_that_stops_early_misses_nothing(known, query):
    normals = normals_of([s for s, _ in known], [c for _, c in known])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_FIRST", 1)
        patch.setattr(nearest, "_LARGEST", 3)
        found = Nearest(normals).find(tokens(*query))
    assert found == Nearest(normals).find(tokens(*query))


def test_the_neighbour_among_many_is_the_one_that_brute_force_finds():
    random = np.random.default_rng(2)
    bases = [random.integers(0, 12, 15) for _ in range(4)]
    known = []
    for _ in range(1200):
        sequence = bases[random.integers(4)].copy()
        random.shuffle(sequence[random.integers(0, 15) :])
        sequence[random.integers(0, 15)] = random.integers(0, 14)
        known.append(sequence[: random.integers(9, 16)].tolist())
    counts = random.integers(1, 4, len(known)).tolist()
    index = Nearest(normals_of(known, counts))
    for base in bases:
        query = base.tolist()
        query[3:5] = [query[4], 77]
        least = min(
            (edit_distance(query, s), -c, i) for i, (s, c) in enumerate(zip(known, counts, strict=True))
        )
        assert index.find(tokens(*query)) == Neighbour(least[2], least[0], -least[1])


@given(training, sequences)
def test_bag_distances_are_those_of_multisets(known, query):
    bags = Bags(normals_of([s for s, _ in known]))
    expected = [bag_distance(query, s) for s, _ in known]
    assert bags.distances(tokens(*query))[bags.bag_of].tolist() == expected


@given(training)
def test_bags_hold_what_their_sequences_hold(known):
    bags = Bags(normals_of([s for s, _ in known], [c for _, c in known]))
    assert len(bags.sessions) == len({tuple(sorted(s)) for s, _ in known})
    assert bags.sessions.sum() == sum(count for _, count in known)
    for bag, (sequence, _) in zip(bags.bag_of.tolist(), known, strict=True):
        kinds, counts = bags.contents(bag)
        assert np.repeat(kinds, counts).tolist() == sorted(sequence)


@given(training, sequences, st.integers(1, 30))
def test_the_nearest_bags_come_in_order_of_distance_and_sessions(known, query, k):
    bags = Bags(normals_of([s for s, _ in known], [c for _, c in known]))
    found = bags.nearest(tokens(*query), k).tolist()
    distances = bags.distances(tokens(*query))
    everything = sorted(range(len(bags.sessions)), key=lambda i: (distances[i], -bags.sessions[i], i))
    assert found == everything[:k]


def test_ties_go_to_the_sequence_of_most_sessions_then_to_the_first():
    assert Nearest(normals_of([[1, 2], [1, 3], [1, 4]], [2, 5, 5])).find(tokens(1, 9)).index == 1


def test_a_count_beyond_a_byte_is_counted():
    bags = Bags(normals_of([[3] * 300, [3, 4]]))
    assert bags.distances(tokens(*[3] * 400)).tolist() == [100, 399]
    assert bags.distances(tokens(*[3] * 299, 4)).tolist() == [1, 298]


def test_rare_and_common_events_are_both_found_among_many_bags():
    known = [[1, 2, 10 + i % 7] for i in range(40)] + [[1, 2, 3, 99]]
    bags = Bags(normals_of(known))
    query = [1, 99, 12, 5]
    assert bags.distances(tokens(*query))[bags.bag_of].tolist() == [bag_distance(query, s) for s in known]


def test_no_training_sequence_is_said():
    with pytest.raises(ValueError, match="no training sequence"):
        Nearest(normals_of([]))


def test_too_long_sequences_are_compared_as_bags_and_marked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nearest, "MOST_WORK", 1000)
    random = np.random.default_rng(3)
    long = [random.integers(0, 9, 2000).tolist() for _ in range(5)]
    index = Nearest(normals_of([*long, [1, 2, 3]], [1, 1, 7, 1, 1, 1]))
    shuffled = random.permutation(long[2]).astype(np.int32)
    assert index.find(shuffled) == Neighbour(2, 0, 7, approximate=True)
    assert not Nearest(normals_of([[1, 2], [3, 4]])).find(tokens(1, 2, 3)).approximate


def test_a_hundred_thousand_events_take_a_moment():
    random = np.random.default_rng(4)
    long = [random.integers(0, 50, 100_000).tolist() for _ in range(4)]
    index = Nearest(normals_of(long))
    begin = time.process_time()
    found = index.find(random.permutation(long[3]).astype(np.int32))
    assert found == Neighbour(3, 0, 1, approximate=True)
    cut = np.array(long[1][:-7], dtype=np.int32)
    assert index.find(cut).index == 1
    assert time.process_time() - begin < 5


def test_two_hundred_thousand_sequences_are_searched_in_milliseconds():
    random = np.random.default_rng(5)
    many = 200_000
    lengths = np.maximum(1, random.poisson(20, many))
    normals = Normals(
        tokens=(random.zipf(1.5, int(lengths.sum())) % 300).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        counts=random.integers(1, 9, many),
    )
    index = Nearest(normals)
    took = []
    for which in random.integers(0, many, 21).tolist():
        query = normals.tokens[normals.offsets[which] : normals.offsets[which + 1]].copy()
        query[len(query) // 2] = 301
        begin = time.process_time()
        found = index.find(query)
        took.append(time.process_time() - begin)
        assert found.distance <= 1
    assert float(np.median(took)) < 0.05
