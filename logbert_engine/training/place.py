"""A process's place among those that train together. Without torch, which takes seconds to import."""

from __future__ import annotations

import os
from dataclasses import dataclass

_VARIABLES = (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"))


@dataclass(frozen=True)
class Place:
    """A process's place in its team, as torchrun tells it."""

    rank: int = 0
    """Among all processes; rank 0 journals and saves."""
    local_rank: int = 0
    """Among those of this machine; the number of its device."""
    world_size: int = 1

    @staticmethod
    def from_environment() -> Place:
        """The place that torchrun gave us; alone where there is no torchrun."""
        rank, local, world = (int(os.environ.get(name, default)) for name, default in _VARIABLES)
        return Place(rank=rank, local_rank=local, world_size=world)

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether the team is this process."""
        return self.world_size == 1
