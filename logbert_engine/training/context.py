"""What every stage of a run shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.batches import Pieces, pieces_of
from logbert_engine.data.normals import Normals, normals_of
from logbert_engine.data.sampling import Split, stage_sample
from logbert_engine.data.store import Store
from logbert_engine.detection.calibration import Times
from logbert_engine.detection.nearest import Nearest
from logbert_engine.detection.rules import Findings, Rate, Rules
from logbert_engine.models.device import Compute
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.batching import micro_batch_for
from logbert_engine.presets.types import Encoder, RunConfig
from logbert_engine.protocol.events import StagePlan
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training.recorder import Voice
from logbert_engine.training.team import Team
from logbert_engine.training.wishes import Wishes


@dataclass(frozen=True)
class RunContext:
    """The run's settings, data, device and voice."""

    run: RunLayout
    config: RunConfig
    sizes: Encoder
    room: int
    """Longest input of the model in tokens."""
    compute: Compute
    store: Store
    split: Split
    vocabulary: Vocabulary
    templates: dict[str, str]
    recorder: Voice
    wishes: Wishes
    team: Team
    micro_batch_cap: int
    """Most sessions on a device at once, as memory taught an earlier attempt; 0: no cap."""

    @property
    def leads(self) -> bool:
        """Whether this process is rank 0, which journals and saves."""
        return self.team.place.leads

    def micro_batch(self, plan: StagePlan) -> int:
        """Sessions on a device at once when a stage begins."""
        share = -(-plan.batch // self.team.place.world_size)  # of a batch, the most that a rank has
        return min(share, micro_batch_for(self.config.training, plan.ratio, self.micro_batch_cap))

    def stage_pieces(self, plan: StagePlan) -> Pieces:
        """What a stage trains on."""
        sessions = stage_sample(self.split.train, plan.ratio, self.config.seed)
        return pieces_of(self.store, sessions, self.room)

    def valid_pieces(self) -> Pieces:
        """The fixed validation sample."""
        return pieces_of(self.store, self.split.valid, self.room)

    @cached_property
    def train_normals(self) -> Normals:
        """What training may see, all stages together."""
        return normals_of(self.store, self.split.train, self.vocabulary.lookup(self.store.events))

    @cached_property
    def valid_normals(self) -> Normals:
        """The validation sample."""
        return normals_of(self.store, self.split.valid, self.vocabulary.lookup(self.store.events))

    @cached_property
    def valid_times(self) -> Times:
        """When the sessions of the validation sample were."""
        return Times.of(self.store, self.split.valid)

    @cached_property
    def rules(self) -> tuple[Findings, dict[str, Rate]]:
        """What rules that know the training sessions find in the validation sample, and how often each alarms on an
        ordinary session that it does not know."""
        found = Rules(self.train_normals).find(self.valid_normals.tokens, self.valid_normals.offsets)
        return found, Rules(self.normals).left_out()

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """How far each sequence of the validation sample is from the nearest of the training sessions."""
        return Nearest(self.train_normals).distances(self.valid_normals.tokens, self.valid_normals.offsets)

    @cached_property
    def normals(self) -> Normals:
        """All ordinary sessions that the run uses."""
        both = np.concatenate((self.split.train, self.split.valid))
        return normals_of(self.store, both, self.vocabulary.lookup(self.store.events))
