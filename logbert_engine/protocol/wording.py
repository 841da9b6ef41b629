"""What a run trains with and how it fares, in words: the same in the console and on the command line."""

from __future__ import annotations

from typing import Literal

from logbert_engine.protocol.events import BackedOff, Quality
from logbert_engine.protocol.messages import PresetInfo
from logbert_engine.protocol.runstate import RunState

FINDINGS = {"rising": "loss rising", "stalling": "loss stalling", "recovered": "loss well again"}
"""A finding about the loss in two or three words."""
CAUSES = {
    "budget": "close to the memory budget",
    "out_of_memory": "out of memory",
    "killed": "killed by the kernel, out of host memory",
}
"""Why fewer sessions are on a device at once."""
_SHORT_REASON = 30
"""Characters of a reason's first words that stand beside the phase."""


def processes(count: int) -> str:
    """Processes that train together: ``2 ranks``; empty for one."""
    return f"{count} ranks" if count > 1 else ""


def micro_batch(run: RunState) -> str:
    """``micro-batch 4 of 8``, with the reason where memory ran short; empty before the first stage.

    Of several ranks it is that of each: its share of the batch is the larger number.
    """
    if not run.micro_batch:
        return ""
    most = run.largest_micro_batch
    text = f"micro-batch {run.micro_batch}" + (f" of {most}" if most > run.micro_batch else "")
    text += " a rank" if run.world_size > 1 else ""
    return text if run.back_off is None else f"{text} (backed off: {back_off(run.back_off, run.stage)})"


def back_off(event: BackedOff, stage: int = 0) -> str:
    """Why and when: ``out of memory after step 37``; the stage is named where it is not ``stage``."""
    where = f" of stage {event.stage}" if event.stage != stage else ""
    return f"{CAUSES[event.cause]} after step {event.step}{where}"


def phase(run: RunState) -> str:
    """The run's phase; with the first words of the reason where a pause was not asked for: ``paused: disk full``."""
    if run.phase == "paused" and run.ended is not None and run.ended.exit_code:
        words = run.reason.partition(":")[0]
        if words and len(words) <= _SHORT_REASON:
            return f"paused: {words}"
    return run.phase


def batches(preset: PresetInfo) -> str:
    """The batch, or the range of those that follow the stages: ``8``, ``2–4``."""
    found = sorted({batch for _, batch in preset.batch_by_ratio}) or [preset.batch]
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"


def batch_schedule(preset: PresetInfo) -> str:
    """The batch in words: ``8``, or ``2, from 50% of the data on 4, from 100% on 8``."""
    if not preset.batch_by_ratio:
        return str(preset.batch)
    first, *later = preset.batch_by_ratio
    words = str(first[1])
    for number, (share, batch) in enumerate(later):
        words += f", from {share:.0%}{' on' if number else ' of the data on'} {batch}"
    return words


def wanted_processes(nproc: int | Literal["auto"]) -> str:
    """The processes that a preset asks for."""
    if nproc == "auto":
        return "one for each CUDA device"
    return "1" if nproc == 1 else f"{nproc}, together"


def quality_words(quality: Quality) -> str:
    """The figures, beside those of the best simple rule."""
    words = [
        f"{name} {value:.3f}{_between(quality, key)}"
        for name, key, value in (
            ("F1", "f1", quality.f1),
            ("average precision", "average_precision", quality.average_precision),
        )
        if value is not None
    ]
    if quality.floor_f1 is not None:
        words.append(f"F1 of the best simple rule ({quality.floor}) {quality.floor_f1:.3f}")
    return ", ".join(words)


def _between(quality: Quality, key: str) -> str:
    interval = quality.intervals.get(key)
    return f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval is not None else ""
