"""A store in parts over time."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logbert_engine.data.spans import between, together
from logbert_engine.data.store import Store, open_store

SESSIONS = [[1, 2], [3], [1, 2], [3, 3, 1], [2], [3], [1, 2], [4, 4]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    file = tmp_path / "preprocessed_logs_2025-03-01.json"
    file.write_text(
        json.dumps(
            [
                {"session_id": f"s{i}", "event_sequence": events, "label": i % 2, "service_name": f"v{i % 3}"}
                for i, events in enumerate(SESSIONS)
            ]
        )
    )
    return open_store([file])


def sessions_of(store: Store) -> list[tuple[object, list[object], int, str]]:
    return [
        (
            store.session_id(i),
            [store.events[e] for e in store.sequence(int(store.sequence_of[i]))],
            int(store.label[i]),
            store.services[store.service_of[i]],
        )
        for i in range(store.n_sessions)
    ]


@given(st.lists(st.integers(0, len(SESSIONS)), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parts_hold_the_sessions_of_their_time_and_together_all_of_them(
    store: Store, cuts: list[int]
) -> None:
    bounds = [0, *sorted(set(cuts) - {0, len(SESSIONS)}), len(SESSIONS)]
    whole = sessions_of(store)
    parts = []
    for first, last in itertools.pairwise(bounds):
        part = between(store, first, last)
        assert sessions_of(part) == whole[first:last]
        assert part.counts.sum() == part.n_sessions == last - first
        assert part.n_unique == len({tuple(events) for events in SESSIONS[first:last]})
        parts.append(part)
    again = together(store, parts)
    assert sessions_of(again) == whole
    assert again.n_unique == sum(part.n_unique for part in parts)
    assert np.array_equal(again.counts, np.concatenate([part.counts for part in parts]))
    assert again.offsets[-1] == len(again.tokens)
