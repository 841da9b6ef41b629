"""Leaks that would make figures worthless, each refused with a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from logbert_engine.protocol.errors import EvaluationError

_NAMED = 3


def session_keys(names: Iterable[bytes], content: Iterable[bytes] | None = None) -> NDArray[np.uint64]:
    """A number for each session that tells it from others, for ``refuse_shared_sessions``.

    Args:
        names: what names the session: its id, with the time where there is one.
        content: its events, where ids begin anew in each file and do not tell sessions apart by themselves.

    Returns:
        [S] The first 64 bits of a BLAKE2b hash.
    """
    each = repeat(b"") if content is None else content
    digests = b"".join(
        blake2b(len(name).to_bytes(8, "little") + name + events, digest_size=8).digest()
        for name, events in zip(names, each, strict=content is not None)
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def refuse_shared_sessions(
    evaluated: NDArray[np.generic], used: NDArray[np.generic], use: str = "trained or calibrated"
) -> None:
    """Refuse to evaluate a model on sessions that it has met. Other sessions of the same content are fine.

    Args:
        evaluated: [S] ids or ``session_keys`` of the evaluation.
        used: ids or keys, of the same type, of the sessions that made the model.
        use: what they were used for, as in "the model was … on".

    Raises:
        EvaluationError: a session is in both.
    """
    shared = np.flatnonzero(np.isin(evaluated, used))
    if not len(shared):
        return
    first = shared[:_NAMED]
    if evaluated.dtype.kind == "u":  # keys tell nobody anything
        which = "the first is number " + f"{first[0] + 1:,}"
    else:
        which = ", ".join(str(evaluated[i]) for i in first) + (", …" if len(shared) > _NAMED else "")
    raise EvaluationError(
        f"{len(shared):,} of the {len(evaluated):,} session ids of the evaluation are of sessions that the model "
        f"was {use} on ({which}); evaluate on sessions that it has never met."
    )


def refuse_labelled_training(label: NDArray[np.int8]) -> None:
    """Refuse a model whose training sample was not of normal sessions.

    Args:
        label: of the sessions in training and calibration: 0 normal, 1 anomalous, -1 unlabelled.

    Raises:
        EvaluationError: one is labelled other than normal.
    """
    others = int(np.count_nonzero((label != 0) & (label != -1)))
    if others:
        raise EvaluationError(
            f"{others:,} of the {len(label):,} sessions of the training sample have labels other than normal; "
            "train on normal or unlabelled sessions alone, and keep labelled anomalies for the evaluation."
        )
