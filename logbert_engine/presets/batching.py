"""The batch of a stage: it can follow the share of the data that the stage trains on. Pure functions."""

from __future__ import annotations

import msgspec

from logbert_engine.presets.types import Training

_TOLERANCE = 1e-9
"""Shares are sums of steps such as 0.1."""


def batch_for(training: Training, ratio: float) -> int:
    """Sessions an optimizer step sees.

    Args:
        training: settings of the run.
        ratio: share of the data that the stage trains on.

    Returns:
        Of ``batch_by_ratio`` the batch of the largest share not above ``ratio``, or the first one's where all
        are above it; ``batch`` where there is no such list.
    """
    found = training.batch_by_ratio[0][1] if training.batch_by_ratio else training.batch
    for share, batch in training.batch_by_ratio:
        if share <= ratio + _TOLERANCE:
            found = batch
    return found


def within_tokens(training: Training, batch: int, tokens: float) -> int:
    """Sessions of an optimizer step that sees about ``batch_tokens`` tokens.

    Args:
        training: settings of the run.
        batch: the most.
        tokens: of a session, on average.
    """
    if not training.batch_tokens:
        return batch
    return max(1, min(batch, round(training.batch_tokens / tokens)))


def micro_batch_for(training: Training, ratio: float, cap: int = 0) -> int:
    """Sessions on a device at once.

    Args:
        training: settings of the run; a ``micro_batch`` of 0 stands for the whole batch.
        ratio: share of the data that the stage trains on.
        cap: the most that memory has turned out to allow; 0 where that is not known.

    Returns:
        At most the stage's batch and at most ``cap``.
    """
    batch = batch_for(training, ratio)
    micro = min(training.micro_batch or batch, batch)
    return min(micro, cap) if cap else micro


def rounds_of(training: Training, epochs: int, steps: int) -> tuple[int, int]:
    """How often a stage goes through its sessions.

    Args:
        training: settings of the run.
        epochs: of a stage, by the settings.
        steps: optimizer steps of one pass through the sessions.

    Returns:
        Epochs, at most as many, and passes in each, so that there are about ``stage_steps`` steps.
    """
    if not training.stage_steps:
        return epochs, 1
    passes = max(1, round(training.stage_steps / steps))
    epochs = min(epochs, passes)
    return epochs, max(1, round(passes / epochs))


def decisive(training: Training) -> Training:
    """The settings, with those that change nothing about the weights put to their defaults."""
    plain = Training()
    return msgspec.structs.replace(
        training, micro_batch=plain.micro_batch, save_minutes=plain.save_minutes, log_every=plain.log_every
    )
