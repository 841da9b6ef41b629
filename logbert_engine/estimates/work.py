"""How much a run has to do: sessions, tokens and steps of its stages, from a quick look at the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from logbert_engine.presets.batching import batch_for, rounds_of, within_tokens
from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import Decoder, Encoder, RunConfig
from logbert_engine.protocol.messages import DataSummary

USUAL_EVENTS = 300
"""Distinct events that are taken for granted where there are no data to look at."""
MARKERS = 2
MASKS = 4
"""Complementary ones, as in ``models.surprisal``."""
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
        batch = batch_for(config.training, config.stages.max_ratio)
        tokens = config.training.batch_tokens // batch if config.training.batch_tokens else room
        return Work(
            events=USUAL_EVENTS,
            tokens=min(room, max(MARKERS + 1, tokens)),
            longest=room,
            validation=0.0,
            stages=(),
            sessions=0.0,
            assumed=(f"no data were named: sessions as long as the model reads at once ({room} tokens)",),
        )
    window = room - MARKERS
    mean = data.mean_length or data.median_length
    pieces = max(1.0, mean / window)
    tokens = min(room, round(mean / pieces) + MARKERS)
    used = _used(config, data)
    share = config.data.valid_share
    valid = min(used * share, config.data.valid_most)
    training = config.training
    stages = []
    for plan in plan_stages(config.stages):
        sessions = used * (1 - share) * plan.ratio
        batch = within_tokens(training, batch_for(training, plan.ratio), tokens)
        visits = visits_of(sessions, data, training.duplicate_weight) * pieces
        epochs, passes = rounds_of(training, plan.epochs, max(1, round(visits / batch)))
        stages.append(
            StageWork(
                ratio=plan.ratio,
                sessions=sessions,
                batch=batch,
                epochs=epochs,
                steps=max(1.0, epochs * passes * visits / batch),
            )
        )
    return Work(
        events=data.distinct_events,
        tokens=tokens,
        longest=min(room, data.longest + MARKERS),
        validation=scorings_of(config.model) * visits_of(valid, data, _NEVER) * (mean + MARKERS),
        stages=tuple(stages),
        sessions=used,
        assumed=() if data.peeked_all and data.files == 1 else ("later files are like the first",),
    )


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
        assumed=("sequences of text fill the training length",),
    )


def _used(config: RunConfig, data: DataSummary) -> float:
    """Sessions that a run uses at all."""
    most = config.data.max_files
    files = min(data.files, most) / data.files if most and data.files else 1.0
    return max(2.0, data.estimated_sessions * files * config.data.sample_ratio)


def visits_of(sessions: float, data: DataSummary, duplicate_weight: int) -> float:
    """How many sequences an epoch goes through.

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
    return unlike + (sessions - unlike) / duplicate_weight
