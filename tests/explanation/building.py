"""The smallest real training samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.normals import Normals


def normals_of(sequences: Sequence[Sequence[int]], counts: Sequence[int] | None = None) -> Normals:
    return Normals(
        tokens=np.array([token for sequence in sequences for token in sequence], dtype=np.int32),
        offsets=np.cumsum([0, *map(len, sequences)], dtype=np.int64),
        counts=np.array(counts if counts is not None else [1] * len(sequences), dtype=np.int64),
    )


def tokens(*events: int) -> NDArray[np.int32]:
    return np.array(events, dtype=np.int32)


def edit_distance(a: Sequence[object], b: Sequence[object]) -> int:
    """By the textbook (Wagner and Fischer, 1974), to check the fast one."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


def bag_distance(a: Sequence[int], b: Sequence[int]) -> int:
    return max((Counter(a) - Counter(b)).total(), (Counter(b) - Counter(a)).total())
