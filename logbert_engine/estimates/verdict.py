"""Whether a run fits a device, and with which micro-batch or with gradient checkpointing if not as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from logbert_engine.protocol.estimates import Verdict

SPARE = 0.95
"""Of a device's room, what a run may be expected to take."""

Need = Callable[[int, bool], float]
"""MB with a micro-batch, with or without gradient checkpointing."""


def judge(need: Need, micro_batch: int, checkpointing: bool, room_mb: float, where: str) -> Verdict:
    """The verdict on a run.

    A smaller micro-batch is tried first, since it costs little time; then checkpointing, which costs a third more,
    with the largest micro-batch that fits.

    Args:
        need: memory that the run takes.
        micro_batch: sessions on a device at once, by the settings.
        checkpointing: by the settings.
        room_mb: what the device has to offer.
        where: the device, in words.
    """
    room = SPARE * room_mb
    if need(micro_batch, checkpointing) <= room:
        return Verdict(
            fit="fits", micro_batch=micro_batch, checkpointing=checkpointing, words=f"fits {where}"
        )
    tried = [(micro, checkpointing) for micro in halves(micro_batch)]
    if not checkpointing:
        tried += [(micro, True) for micro in (micro_batch, *halves(micro_batch))]
    for micro, again in tried:
        if need(micro, again) <= room:
            settings = [f"training.micro_batch={micro}"] if micro != micro_batch else []
            settings += ["model.gradient_checkpointing=true"] if again and not checkpointing else []
            how = [f"a micro-batch of {micro}"] if micro != micro_batch else []
            how += ["gradient checkpointing"] if again and not checkpointing else []
            return Verdict(
                fit="adjusted",
                micro_batch=micro,
                checkpointing=again,
                settings=settings,
                words=f"fits {where} with {' and '.join(how)}",
            )
    lacking = need(1, True) - room
    return Verdict(
        fit="too large",
        micro_batch=1,
        checkpointing=True,
        lacking_mb=lacking,
        words=f"does not fit {where}: even one session at a time with gradient checkpointing takes "
        f"{lacking / 1024:,.1f} GB more",
    )


def halves(micro_batch: int) -> Iterator[int]:
    """Smaller micro-batches: 7, 4, 2, 1, as the engine takes them when memory runs short."""
    while micro_batch > 1:
        micro_batch = (micro_batch + 1) // 2
        yield micro_batch
