"""The most memory that a run takes: computed part by part, or as it was measured."""

from __future__ import annotations

from logbert_engine.data.masks import TOKENS_AT_ONCE
from logbert_engine.estimates.machine import CONTEXT_MB, EMPTY_MB
from logbert_engine.estimates.memory import MB, parts_of, settled
from logbert_engine.estimates.setting import Setting
from logbert_engine.protocol.expectation import Figure

_OFF = 0.15
"""By how much of itself computed memory may be off."""
_ROUNDING = 1.06
"""What a GPU's caching allocator takes, as a multiple of what it was asked for."""


def memory_parts(setting: Setting, batch: int, micro_batch: int, checkpointing: bool) -> dict[str, float]:
    """MB by part, of each device, or of all processes where they share a processor."""
    setting = setting.recomputing(checkpointing)
    shape, place, work = setting.shape, setting.place, setting.work
    load = setting.load(micro_batch, work.longest, accumulates=setting.micro_batches(batch, micro_batch) > 1)
    parts = parts_of(shape, load)
    parts["validation"] = max(0.0, _scoring_mb(setting) - parts["activations"] - parts["logits"])
    if place.kind == "cpu":
        parts["allocator"] = settled(shape, load)
        parts["libraries"] = setting.machine.learned.empty_mb("cpu") or EMPTY_MB
    else:
        parts["allocator"] = (_ROUNDING - 1) * sum(parts.values())
        parts["libraries"] = CONTEXT_MB if place.kind == "cuda" else EMPTY_MB
    parts["data"] = _data_mb(setting)
    if place.kind == "cpu":
        parts = {name: place.count * value for name, value in parts.items()}
    return parts


def memory(setting: Setting, batch: int, micro_batch: int, checkpointing: bool) -> Figure:
    """MB at the peak.

    What was measured with another number of events is changed by what is computed for the difference.
    """
    computed = sum(memory_parts(setting, batch, micro_batch, checkpointing).values())
    now, place, work = setting.recomputing(checkpointing), setting.place, setting.work
    accumulates = setting.micro_batches(batch, micro_batch) > 1
    known = setting.machine.learned.exact(
        now.shape, place.kind, place.precision, micro_batch, work.tokens, place.count
    )
    same = known is not None and (known.longest, known.accumulates) == (work.longest, accumulates)
    if known is None or known.peak_mb is None or not same or (place.kind == "cpu" and place.count > 1):
        return Figure(
            value=computed, low=computed * (1 - _OFF), high=computed * (1 + _OFF), origin="computed"
        )
    then = memory_parts(now.with_rows(known.rows), batch, micro_batch, checkpointing)
    peak = known.peak_mb + computed - sum(then.values()) + _data_mb(setting)
    if place.kind == "cuda":
        peak += CONTEXT_MB  # which torch does not count
    return Figure(value=peak, low=peak * 0.95, high=peak * 1.1, origin="measured")


def _data_mb(setting: Setting) -> float:
    """MB of the store and what is computed from it, where the device's memory holds that too."""
    of_session = 4.0 * setting.work.events_each + 60.0
    return setting.work.sessions * of_session / MB if setting.place.kind != "cuda" else 0.0


def _scoring_mb(setting: Setting) -> float:
    """MB that come and go when sessions are scored."""
    shape = setting.shape
    return 0.0 if shape.is_decoder else TOKENS_AT_ONCE * (24.0 * shape.hidden + 8.0 * shape.ffn) / MB
