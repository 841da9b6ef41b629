"""What training takes of a device's memory, part by part.

The bytes that a layer keeps for the backward pass were read off the autograd graph of the models that transformers
builds, and agree with it (``tests/estimates/test_kept.py``); what allocators and kernels take beside them was fitted
to measured peaks (``tests/bench/estimates.py``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from logbert_engine.presets.shape import Shape

MB = 1 << 20
_HEAP = 32 * MB
"""Larger blocks glibc takes from the system, and gives them back."""

Kernel = Literal["fused", "explicit"]
"""Of attention: whether the matrix of every token with every other is kept for the backward pass."""


@dataclass(frozen=True)
class Load:
    """What is on the device at once."""

    kind: Literal["cpu", "mps", "cuda"]
    precision: Literal["fp32", "bf16", "fp16"]
    micro_batch: int
    tokens: int
    """Of each of its sequences."""
    accumulates: bool = False
    """Whether a step takes several micro-batches."""


def kernel_of(shape: Shape, kind: str) -> Kernel:
    """The attention that PyTorch chooses: fused kernels have no dropout on CPUs, and cannot train on Apple's GPUs."""
    if kind == "cuda":
        return "fused"
    return "fused" if kind == "cpu" and not shape.dropout else "explicit"


@dataclass(frozen=True)
class Kept:
    """Bytes that a layer keeps for the backward pass of a micro-batch, by the size of what they are kept in."""

    of_width: float
    """In tensors of a token's states."""
    of_ffn: float
    """In tensors of the feed-forward part."""
    of_pairs: float
    """In matrices of every token with every other."""

    @property
    def bytes(self) -> float:
        """All of them."""
        return self.of_width + self.of_ffn + self.of_pairs


def kept_by_layer(shape: Shape, load: Load) -> Kept:
    """What a layer keeps for the backward pass."""
    tokens, width = load.micro_batch * load.tokens, shape.hidden
    fused = kernel_of(shape, load.kind) == "fused"
    short = load.precision != "fp32"
    if shape.is_decoder:
        states = (30 if short else 32) if fused else 40
        shared = (4 if short else 8) * shape.kv_width if fused else 0
        of_token, of_ffn = states * width + shared, (8 if short else 16) * shape.ffn
    else:
        of_token = ((24 if short else 32) + _dropped(shape, load)) * width
        of_ffn = (4 if short else 8) * shape.ffn
    of_pair = 4 * shape.heads if fused else 12 * shape.heads * load.tokens
    if fused and shape.masks_each:
        of_pair += 4 * load.tokens
    return Kept(float(tokens * of_token), float(tokens * of_ffn), float(tokens * of_pair))


def _in_heap(shape: Shape, load: Load) -> float:
    """Bytes of what a layer keeps that come from the C library's heap, where gradients cannot have their place."""
    kept, tokens = kept_by_layer(shape, load), 4.0 * load.micro_batch * load.tokens
    sizes = (
        (kept.of_width, tokens * shape.hidden),
        (kept.of_ffn, tokens * shape.ffn),
        (kept.of_pairs, tokens * load.tokens * shape.heads),
    )
    return sum(kept for kept, size in sizes if size < _HEAP)


def _dropped(shape: Shape, load: Load) -> int:
    """Bytes a token and unit of width that an encoder's layer keeps of which states were dropped."""
    if not shape.dropout:
        return 0
    if load.kind == "cuda":
        return 2  # one byte each, twice
    kept = 10 if load.precision != "fp32" else 8
    return kept if shape.architecture == "bert" else kept // 2


def parts_of(shape: Shape, load: Load) -> dict[str, float]:
    """MB (2^20 bytes) by part, at the peak; without data and what the process takes by itself.

    Source of what there is to count: Rajbhandari, Rasley, Ruwase and He, ZeRO: Memory optimizations toward training
    trillion parameter models, SC 2020, section 3; Korthikanti et al., Reducing activation recomputation in large
    transformer models, MLSys 2023.
    """
    weights = 4.0 * shape.parameters
    tokens = load.micro_batch * load.tokens
    layer = kept_by_layer(shape, load).bytes
    passing = _passing(shape, load)
    around = tokens * shape.hidden * 12.0
    if shape.checkpointing:
        activations = shape.layers * tokens * shape.hidden * 4.0 + layer + around + passing
    else:
        activations = shape.layers * layer + around + passing
    logits = _logits(shape, load)
    gradients = weights
    if not load.accumulates:
        # gradients come while activations go; on a processor those in its heap stay where they are
        left = 0.0
        if load.kind == "cpu":
            left = _in_heap(shape, load) * (1 if shape.checkpointing else shape.layers)
        gradients = min(weights, max(0.0, left + layer + passing + weights - activations - logits))
    gradients += (
        4.0 * shape.rows * shape.hidden
    )  # of tied embeddings, a second one before the two are added up
    copies = 0.0 if load.precision == "fp32" else 2.0 * (shape.parts["layers"] + shape.head_weights)
    found = {
        "weights": weights,
        "gradients": gradients,
        "optimizer": 2 * weights,
        "short copies": copies,
        "activations": activations,
        "logits": logits,
    }
    return {name: value / MB for name, value in found.items()}


def _passing(shape: Shape, load: Load) -> float:
    """Bytes that come and go within a layer's backward pass."""
    tokens = load.micro_batch * load.tokens
    wide = 2 * 4.0 * tokens * shape.ffn
    pairs = 0.0
    if kernel_of(shape, load.kind) == "explicit":
        pairs = 2 * 4.0 * tokens * shape.heads * load.tokens
    return wide + pairs


def _logits(shape: Shape, load: Load) -> float:
    """Bytes of what is predicted: logits, their log-softmax and the gradient of both."""
    predicted = load.micro_batch * load.tokens * shape.predicted_most
    each = 16.0 if shape.is_decoder else 12.0
    return predicted * (each * shape.rows + 24.0 * shape.hidden * (not shape.is_decoder))


def settled(shape: Shape, load: Load) -> float:
    """MB of the processor's memory that is held beside all that is counted.

    Code that is loaded with the first step, and what the C library's allocator keeps of freed blocks (glibc takes
    those under 32 MB from a heap that does not shrink in its middle). Fitted to measured peaks.
    """
    activations, code = parts_of(shape, load)["activations"], 28.0
    root = math.sqrt(activations)
    if kernel_of(shape, load.kind) == "fused":
        return code + (0.3 * activations if shape.checkpointing else 0.0)
    return code + (0.45 * activations + 8 * root if shape.checkpointing else 0.11 * activations + 1.5 * root)
