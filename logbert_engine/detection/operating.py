"""A simulated operator: is shown the top of the list, and answers truly. What do some answers gain?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.contract import EventId
from logbert_engine.detection.evidence import ranking
from logbert_engine.detection.scoring import StoreScores
from logbert_engine.detection.teaching import Taught
from logbert_engine.evaluation.detections import Detector

ANSWERS = (0, 5, 10, 20, 50)
"""After which figures are made, as far as the operator goes."""


def operate(
    weigh: Callable[[Taught], StoreScores],
    sequence: Callable[[int], list[EventId]],
    anomalous: NDArray[np.bool_],
    sessions: NDArray[np.int64],
    of: NDArray[np.int32],
    answers: int,
) -> list[Detector]:
    """Answer for one signature after another.

    Alarms that are odd by the same (``StoreScores.alike``) make one item of the operator's list, that of most
    sessions first, which shows the sequence of most sessions among them; where nothing alarms any more the oddest
    that is not settled is shown. An answer settles all sessions of the signature. Normal ones teach: their events are
    ordinary from then on, and everything is weighed again. Of an item that was answered with anomaly the others stay
    alarms and are not shown.

    Args:
        weigh: scores everything, after sequences that were judged normal.
        sequence: the events of a distinct sequence.
        anomalous: [U] the true answer for each distinct sequence: whether most of its sessions are anomalies.
        sessions: [U] labelled sessions with each; those with none are not shown.
        of: [S] the sequence of each labelled session.
        answers: how many.

    Returns:
        A detector for each of ``ANSWERS`` up to ``answers``, and for the last one.
    """
    taught: list[list[EventId]] = []
    scores = weigh(taught)
    settled: dict[int, bool] = {}
    confirmed: set[int] = set()
    found: list[Detector] = []
    told = sorted({n for n in ANSWERS if n <= answers} | {answers})
    for given in range(answers + 1):
        odd, alarm = _verdicts(scores, settled)
        if given in told:
            found.append(
                Detector(name=f"after {given} answers", kind="model", score=odd[of], alarm=alarm[of])
            )
        shown = _next(odd, alarm, scores.alike, sessions, settled, confirmed)
        if given == answers or shown is None:
            break
        settled[shown] = bool(anomalous[shown])
        if settled[shown]:
            confirmed.add(int(scores.alike[shown]))
        else:
            taught.append(sequence(shown))
            scores = weigh(taught)
    return found


def _verdicts(scores: StoreScores, settled: dict[int, bool]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    alarm = scores.alarms.copy()
    odd = ranking(scores.evidence, alarm)
    for which, anomaly in settled.items():
        odd[which] = np.inf if anomaly else -np.inf
        alarm[which] = anomaly
    return odd, alarm


def _next(
    odd: NDArray[np.float64],
    alarm: NDArray[np.bool_],
    alike: NDArray[np.uint64],
    sessions: NDArray[np.int64],
    settled: dict[int, bool],
    confirmed: set[int],
) -> int | None:
    open_ones = sessions > 0
    open_ones[list(settled)] = False
    left = np.flatnonzero(open_ones)
    if not len(left):
        return None
    asked = left[alarm[left] & ~np.isin(alike[left], np.array(list(confirmed), dtype=np.uint64))]
    if not len(asked):
        return int(left[np.lexsort((left, -sessions[left], -odd[left]))[0]])
    _, item = np.unique(alike[asked], return_inverse=True)
    size = np.bincount(item, weights=sessions[asked])[item]
    return int(asked[np.lexsort((asked, -odd[asked], -sessions[asked], item, -size))[0]])


def true_answers(
    labels: NDArray[np.integer], of: NDArray[np.int32], sequences: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether most of each sequence's labelled sessions are anomalies, and how many it has.

    Args:
        labels: [S] 0 or 1.
        of: [S] the sequence of each.
        sequences: U.
    """
    sessions = np.bincount(of, minlength=sequences)
    odd = np.bincount(of, weights=labels, minlength=sequences)
    return odd * 2 > sessions, sessions.astype(np.int64)
