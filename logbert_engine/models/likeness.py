"""How alike templates are in their words, so that what a model learned of one can begin another."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""Names such as ``addStoredBlock`` are taken apart; numbers and placeholders are no words."""


def most_alike(texts: Sequence[str], known: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The known text whose words are most like those of each text.

    Words count by how often they occur and how few texts hold them (tf-idf); texts compare by the cosine.

    Args:
        texts: N templates.
        known: K templates, at least one.

    Returns:
        [N] indices into ``known`` (the first of equals), and [N] cosines from 0, no word shared, to 1.

    Source: Salton and Buckley, Term-weighting approaches in automatic text retrieval, 1988.
    """
    counted = [Counter(word.lower() for word in _WORD.findall(text)) for text in (*texts, *known)]
    holding = Counter(word for words in counted for word in words)
    place = {word: i for i, word in enumerate(holding)}
    weight_KW = np.zeros((len(counted), len(place)), dtype=np.float32)
    for row, words in zip(weight_KW, counted, strict=True):
        for word, count in words.items():
            row[place[word]] = count * (1 + math.log((1 + len(counted)) / (1 + holding[word])))
    length_K1 = np.linalg.norm(weight_KW, axis=1, keepdims=True)
    weight_KW /= np.where(length_K1 > 0, length_K1, 1.0)
    cosine_NK = weight_KW[: len(texts)] @ weight_KW[len(texts) :].T
    nearest = cosine_NK.argmax(axis=1)
    return nearest, np.clip(cosine_NK.max(axis=1), 0.0, 1.0)
