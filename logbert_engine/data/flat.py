"""Sequences that lie one behind the other in a flat array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def taken(
    tokens: NDArray[Any], offsets: NDArray[np.int64], chosen: NDArray[np.integer]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Some of the sequences, in an array of their own.

    Args:
        tokens: of the sequences, one behind the other.
        offsets: [U+1] where each begins and ends.
        chosen: [C] indices of sequences.

    Returns:
        Their tokens, and [C+1] where each begins and ends.
    """
    lengths = np.diff(offsets)[chosen]
    found = np.concatenate(([0], np.cumsum(lengths)))
    within = np.arange(found[-1]) - np.repeat(found[:-1], lengths)
    return np.asarray(tokens[np.repeat(offsets[chosen], lengths) + within]), found
