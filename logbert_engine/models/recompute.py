"""Gradient checkpointing: layers keep their input alone, and are computed again in the backward pass."""

from __future__ import annotations

from typing import Any


def recompute_layers(model: Any) -> None:
    """Turn it on for each layer of a transformers model; gradients stay what they were, dropout included.

    Source: Chen, Xu, Zhang and Guestrin, Training Deep Nets with Sublinear Memory Cost, 2016.
    """
    model.config.use_cache = False  # what a layer would keep of other calls is gone when it is computed again
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable()
    else:  # its name in older versions of transformers
        model.gradient_checkpointing_enable()
