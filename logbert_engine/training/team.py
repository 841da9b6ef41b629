"""The processes that train together: what they agree on, and what they add up.

A run of one process is a team of one and communicates with nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from logbert_engine.models.device import is_out_of_memory
from logbert_engine.training.place import Place as Place

_PATIENCE = timedelta(days=7)
"""One rank may read data for hours while the others wait; the supervisor's watchdog ends a team that hangs."""
_BUCKET = 1 << 23
"""Numbers that are added up at once."""


class PeerLostError(Exception):
    """Another rank has ended; this one cannot go on, and why is known to the supervisor."""


class Team:
    """Collective operations. Every rank must call the same ones in the same order.

    Small ones go over gloo, whatever the device, so that agreeing never waits for a GPU.

    Raises (all methods):
        PeerLostError: another rank is gone.
    """

    def __init__(self, place: Place, device: torch.device) -> None:
        """Meet the others."""
        self.place = place
        self._device = device
        if not place.alone:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=_PATIENCE)

    def leave(self) -> None:
        """Part from the others; without this, NCCL warns."""
        if not self.place.alone and dist.is_initialized():
            dist.destroy_process_group()

    def agree(self, *words: int) -> list[int]:
        """The highest of what the ranks say, word for word."""
        if self.place.alone:
            return list(words)
        said = torch.tensor(words, dtype=torch.int64)
        with _peers():
            dist.all_reduce(said, op=dist.ReduceOp.MAX)
        return [int(word) for word in said]

    def total(self, value: float) -> float:
        """The sum of a figure over the ranks."""
        if self.place.alone:
            return value
        figure = torch.tensor([value], dtype=torch.float64)
        with _peers():
            dist.all_reduce(figure)
        return float(figure)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks; they all lie on the team's device in one type.

        The tensors are packed into buckets that only their shapes decide, so the order of additions is the same
        in every step of every attempt. DistributedDataParallel packs them anew after the first step it sees, so
        with three ranks or more a resumed run would add in another order; and it sends during backward, before
        the ranks can know whether the step is sound on all of them.
        """
        if self.place.alone:
            return
        with _peers():
            for bucket in _buckets(tensors):
                packed = torch.cat([tensor.reshape(-1) for tensor in bucket])
                dist.all_reduce(packed)
                parts = torch.split(packed, [tensor.numel() for tensor in bucket])
                for tensor, part in zip(bucket, parts, strict=True):
                    tensor.copy_(part.view_as(tensor))

    def gather(self, data: bytes) -> list[bytes]:
        """What each rank has, by rank, on every rank."""
        if self.place.alone:
            return [data]
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.place.world_size)]
        with _peers():
            dist.all_gather(lengths, torch.tensor([len(data)]))
            longest = max(1, *(int(length) for length in lengths))
            mine = torch.zeros(longest, dtype=torch.uint8)
            mine[: len(data)] = torch.frombuffer(bytearray(data or b"\0"), dtype=torch.uint8)[: len(data)]
            found = [torch.empty_like(mine) for _ in lengths]
            dist.all_gather(found, mine)
        return [one.numpy().tobytes()[: int(length)] for one, length in zip(found, lengths, strict=True)]

    def told(self, data: bytes) -> bytes:
        """What rank 0 has, on every rank."""
        return self.gather(data if self.place.leads else b"")[0]

    def wait(self) -> None:
        """Until all ranks have come here."""
        self.agree(0)


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and size + tensor.numel() > _BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket


@contextmanager
def _peers() -> Iterator[None]:
    """Errors of the transport mean that a peer is gone."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise PeerLostError(str(error)) from error
