"""What guessing costs, against counting by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from logbert_engine.data.batches import pieces_of
from logbert_engine.data.store import Store
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.training import guessing as module
from logbert_engine.training.guessing import guessing, occurrences


def entropy(counts: Counter[int]) -> float:
    total = counts.total()
    return -sum(n / total * math.log(n / total) for n in counts.values())


@pytest.mark.parametrize("chunk", [1 << 16, 7])
def test_identical_sessions_count_each(
    store: Store, vocabulary: Vocabulary, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    sessions = np.arange(store.n_sessions)
    counts: Counter[int] = Counter()
    for session in sessions:
        counts.update(store.sequence(int(store.sequence_of[session])).tolist())
    found = guessing(occurrences(store, pieces_of(store, sessions, 64)), vocabulary)
    assert found.frequencies == pytest.approx(entropy(counts))
    assert found.blind == pytest.approx(math.log(vocabulary.size))


def test_only_the_stages_sessions_count(store: Store, vocabulary: Vocabulary) -> None:
    alike = np.flatnonzero(store.counts[store.sequence_of] == 12)  # twelve times the session 0, 1, 2
    assert len(alike) == 12
    found = guessing(occurrences(store, pieces_of(store, alike, 64)), vocabulary)
    assert found.frequencies == pytest.approx(math.log(3))


def test_long_sessions_count_as_the_pieces_that_are_trained_on(store: Store, vocabulary: Vocabulary) -> None:
    pieces = pieces_of(store, np.arange(store.n_sessions), 9)
    counts: Counter[int] = Counter()
    for sequence, start, length, count in zip(
        pieces.sequence, pieces.start, pieces.length, pieces.count, strict=True
    ):
        for event in store.sequence(int(sequence))[start : start + length].tolist():
            counts[event] += int(count)
    assert guessing(occurrences(store, pieces), vocabulary).frequencies == pytest.approx(entropy(counts))
