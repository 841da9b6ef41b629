"""The learning rate of each step: a linear warm-up, then a cosine; a pure function."""

from __future__ import annotations

import math

from logbert_engine.presets.types import Training


def learning_rate(step: int, steps: int, settings: Training) -> float:
    """The rate of an optimizer step.

    Args:
        step: from 1 to ``steps``.
        steps: of the whole stage; each stage warms up and cools down anew.
        settings: peak rate, warm-up (at most a tenth of the steps), and the share at which the cosine ends.

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017.
    """
    warmup = min(settings.warmup_steps, steps // 10)
    if step <= warmup:
        return settings.learning_rate * step / warmup
    progress = (step - 1 - warmup) / max(1, steps - 1 - warmup)
    share = settings.final_share + (1 - settings.final_share) * 0.5 * (1 + math.cos(math.pi * progress))
    return settings.learning_rate * share
