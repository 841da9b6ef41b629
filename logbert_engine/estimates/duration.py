"""How long a step takes: products at a device's rate, everything else at the speed of its memory."""

from __future__ import annotations

from logbert_engine.estimates.memory import Load, kept_by_layer
from logbert_engine.estimates.rates import Speed
from logbert_engine.presets.shape import Shape

TRAFFIC = 3.0
"""Times that what a layer keeps goes through memory in a forward and backward pass."""
OPERATIONS = 60
"""Of a layer, forward and backward."""
UPDATE_BYTES = 28
"""That the optimizer and clipping read and write for each parameter."""


def flop_per_token(shape: Shape, tokens: int, *, trained: bool = True) -> float:
    """Floating-point operations a token: 6·N + 12·L·D·T in training, a third of it forward alone.

    With gradient checkpointing the layers' forward pass comes twice. Source: Kaplan et al., Scaling laws for neural
    language models, 2020, section 2.1; Chowdhery et al., PaLM, JMLR 2023, appendix B.

    Args:
        shape: of the model.
        tokens: of a sequence.
        trained: whether there is a backward pass.
    """
    attention = 4.0 * shape.layers * shape.hidden * tokens
    forward = 2.0 * shape.multiplied + attention
    if not trained:
        return forward
    again = 2.0 * shape.parts["layers"] + attention if shape.checkpointing else 0.0
    return 3 * forward + again


def micro_seconds(shape: Shape, load: Load, speed: Speed) -> float:
    """Seconds of a micro-batch, forward and backward."""
    products = load.micro_batch * load.tokens * flop_per_token(shape, load.tokens) / speed.achieved
    passes = 4 / 3 if shape.checkpointing else 1.0
    traffic = passes * TRAFFIC * shape.layers * kept_by_layer(shape, load).bytes / speed.bandwidth
    return products + traffic + passes * (shape.layers + 2) * OPERATIONS * speed.launch_s


def update_seconds(shape: Shape, speed: Speed) -> float:
    """Seconds of clipping and the optimizer's step."""
    return (
        UPDATE_BYTES * shape.parameters / speed.bandwidth
        + (shape.layers + 2) * OPERATIONS / 4 * speed.launch_s
    )


def scoring_seconds(shape: Shape, load: Load, speed: Speed, tokens: float) -> float:
    """Seconds of forward passes over so many tokens in all."""
    products = tokens * flop_per_token(shape, load.tokens, trained=False) / speed.achieved
    of_token = shape.layers * kept_by_layer(shape, load).bytes / max(1, load.micro_batch * load.tokens)
    return products + tokens * of_token / speed.bandwidth
