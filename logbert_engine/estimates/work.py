"""How much a run has to do: sessions, tokens and steps of its stages, from a quick look at the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from logbert_engine.data.masks import MASKS
from logbert_engine.presets.batching import batch_for, rounds_of, within_tokens
from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import Decoder, Encoder, RunConfig
from logbert_engine.protocol.messages import DataSummary

USUAL_EVENTS = 300
"""Distinct events that are taken for granted where there are no data to look at."""
MARKERS = 2
_NEVER = 1 << 30


@dataclass(frozen=True)
class StageWork:
    """A stage."""

    ratio: float
    sessions: float
    batch: int
    epochs: int
    steps: float


@dataclass(frozen=True)
class Work:
    """A run."""

    events: int
    tokens: int
    """Of a sequence, in the mean."""
    longest: int
    """Of the longest that the model sees at once."""
    validation: float
    """Tokens that validation goes through, each as often as it is masked anew; 0 where there are no data."""
    stages: tuple[StageWork, ...]
    """Empty where there are no data that tell how long they are."""
    sessions: float
    """That are read into a store; 0 where there are no data, and for a decoder, which streams its text."""
    events_each: float
    """Events of a session, in the mean."""
    assumed: tuple[str, ...]


def work_of(config: RunConfig, data: DataSummary | None) -> Work:
    """What a run has to do.

    Args:
        config: of the run.
        data: a look at its sessions; None where there are none yet, and for decoders, whose text is not looked at.
    """
    if isinstance(config.model, Decoder):
        return _of_decoder(config, config.model)
    room = config.model.max_length
    if data is None or not data.peeked_sessions:
        return _without_data(config, room)
    known = _Known(data, room - MARKERS)
    training, share = config.training, config.data.valid_share
    stored = _stored(config, data)
    used = max(2.0, stored * config.data.sample_ratio)
    valid = min(used * share, config.data.valid_most)
    tokens = round(known.tokens(used * (1 - share), training.duplicate_weight))
    stages = []
    for plan in plan_stages(config.stages):
        sessions = used * (1 - share) * plan.ratio
        batch = within_tokens(training, batch_for(training, plan.ratio), tokens)
        visits = known.pieces(sessions, training.duplicate_weight)
        epochs, passes = rounds_of(training, plan.epochs, math.ceil(visits / batch))
        steps = float(epochs * math.ceil(passes * visits / batch))
        stages.append(StageWork(ratio=plan.ratio, sessions=sessions, batch=batch, epochs=epochs, steps=steps))
    scored = known.pieces(valid, _NEVER) * known.tokens(valid, _NEVER)
    assumed = ["reading the data and loading the model come before"]
    if not (data.peeked_all and data.files == 1):
        assumed.append("later files are like the first")
    return Work(
        events=data.distinct_events,
        tokens=tokens,
        longest=min(room, data.longest + MARKERS),
        validation=scorings_of(config.model) * scored,
        stages=tuple(stages),
        sessions=stored,
        events_each=data.mean_length or data.median_length,
        assumed=tuple(assumed),
    )


def _without_data(config: RunConfig, room: int) -> Work:
    training = config.training
    batch = batch_for(training, config.stages.max_ratio)
    tokens = training.batch_tokens // batch if training.batch_tokens else room
    tokens = min(room, max(MARKERS + 1, tokens))
    return Work(
        events=USUAL_EVENTS,
        tokens=tokens,
        longest=room,
        validation=0.0,
        stages=(),
        sessions=0.0,
        events_each=0.0,
        assumed=(
            f"no data were named: sessions of {tokens} tokens, the longest of {room}, {USUAL_EVENTS} events",
        ),
    )


@dataclass(frozen=True)
class _Known:
    """What a look at the data tells of sequences that are not alike, and of those that are."""

    data: DataSummary
    window: int
    """Events that the model reads at once."""

    def pieces(self, sessions: float, duplicate_weight: int) -> float:
        """Parts of sequences that an epoch goes through."""
        unlike, alike = self._visits(sessions, duplicate_weight)
        return unlike * self._cut + alike * self._cut_alike

    def tokens(self, sessions: float, duplicate_weight: int) -> float:
        """Of such a part, in the mean."""
        unlike, alike = self._visits(sessions, duplicate_weight)
        events = unlike * self._mean + alike * self._mean_alike
        return events / self.pieces(sessions, duplicate_weight) + MARKERS

    def _visits(self, sessions: float, duplicate_weight: int) -> tuple[float, float]:
        return visits_of(sessions, self.data, duplicate_weight)

    @property
    def _mean(self) -> float:
        """Events of a distinct sequence."""
        return max(1.0, self.data.distinct_mean_length or self.data.mean_length)

    @property
    def _mean_alike(self) -> float:
        """Events of the sessions beside the first of each sequence."""
        seen, distinct = self.data.peeked_sessions, self.data.peeked_distinct or self.data.peeked_sessions
        if seen <= distinct:
            return self._mean
        return max(1.0, (seen * self.data.mean_length - distinct * self._mean) / (seen - distinct))

    @property
    def _cut(self) -> float:
        lengths = self.data.distinct_lengths or [round(self._mean)]
        return sum(max(1, math.ceil(length / self.window)) for length in lengths) / len(lengths)

    @property
    def _cut_alike(self) -> float:
        return max(1.0, self._mean_alike / self.window)


def scorings_of(model: Encoder) -> int:
    """How often the model sees a session that is scored: once in ``next``, else with all masks and rotations."""
    return sum(1 if view == "next" else MASKS * model.rotations for view in model.views)


def _of_decoder(config: RunConfig, model: Decoder) -> Work:
    length, training = model.train_length or model.max_length, config.training
    steps = float(training.steps)
    stage = StageWork(ratio=1.0, sessions=steps * training.batch, batch=training.batch, epochs=1, steps=steps)
    return Work(
        events=0,
        tokens=length,
        longest=length,
        validation=0.0,
        stages=(stage,) if steps else (),
        sessions=0.0,
        events_each=0.0,
        assumed=("sequences of text fill the training length",),
    )


def _stored(config: RunConfig, data: DataSummary) -> float:
    """Sessions of the files that a run reads."""
    most = config.data.max_files
    files = min(data.files, most) / data.files if most and data.files else 1.0
    return data.estimated_sessions * files


def visits_of(sessions: float, data: DataSummary, duplicate_weight: int) -> tuple[float, float]:
    """How often an epoch goes through sequences: those that are all unlike one another, and further ones like them.

    Of n sessions with the same sequence there are ceil(n / ``duplicate_weight``) visits. New sequences become rarer
    the more sessions there are (Heaps' law), as they did among those that were looked at.

    Args:
        sessions: that there are.
        data: the look at the first of them.
        duplicate_weight: of the run.
    """
    seen, distinct = data.peeked_sessions, data.peeked_distinct or data.peeked_sessions
    half = data.peeked_distinct_half or distinct / 2
    exponent = math.log2(max(1.0, distinct / max(1.0, half)))
    unlike: float = min(sessions, distinct * (sessions / seen) ** min(1.0, exponent))
    return unlike, (sessions - unlike) / duplicate_weight
