"""The states of the random generators of one process, as bytes that can be gathered, saved and put back.

Order and masks draw from none of them (they are pure functions of the seed): dropout does, and what a library
may draw is kept all the same.
"""

from __future__ import annotations

import random

import msgspec
import numpy as np
import torch

from logbert_engine.models.device import Compute


class RandomStates(msgspec.Struct, kw_only=True, frozen=True):
    """The states."""

    python: tuple[int, list[int], float | None]
    """As ``random.getstate`` tells it."""
    numpy_keys: bytes
    """624 words of NumPy's global Mersenne Twister, and the rest of its state."""
    numpy_position: int
    numpy_has_gauss: int
    numpy_gauss: float
    torch: bytes
    device: bytes | None = None
    """Of the generator of the accelerator."""


def capture(compute: Compute) -> bytes:
    """The states now."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    on_device = None
    if compute.kind == "cuda":
        on_device = torch.cuda.get_rng_state(compute.device)
    elif compute.kind == "mps":
        on_device = torch.mps.get_rng_state()
    states = RandomStates(
        python=(version, list(words), gauss),
        numpy_keys=np.asarray(keys, dtype="<u4").tobytes(),
        numpy_position=int(position),
        numpy_has_gauss=int(has_gauss),
        numpy_gauss=float(cached),
        torch=torch.get_rng_state().numpy().tobytes(),
        device=None if on_device is None else on_device.numpy().tobytes(),
    )
    return msgspec.msgpack.encode(states)


def put_back(data: bytes, compute: Compute) -> None:
    """Make the generators go on from where ``capture`` found them.

    Raises:
        msgspec.DecodeError: not what ``capture`` wrote.
    """
    states = msgspec.msgpack.decode(data, type=RandomStates)
    version, words, gauss = states.python
    random.setstate((version, tuple(words), gauss))
    keys = np.frombuffer(states.numpy_keys, dtype="<u4")
    np.random.set_state(("MT19937", keys, states.numpy_position, states.numpy_has_gauss, states.numpy_gauss))
    torch.set_rng_state(_tensor(states.torch))
    if states.device is not None:
        if compute.kind == "cuda":
            torch.cuda.set_rng_state(_tensor(states.device), compute.device)
        elif compute.kind == "mps":
            torch.mps.set_rng_state(_tensor(states.device))


def seed_all(seed: int) -> None:
    """Start every generator anew, the same for the same seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
