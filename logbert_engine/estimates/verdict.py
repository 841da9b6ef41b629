"""Whether a run fits a device, and with which micro-batch or with gradient checkpointing if not as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from logbert_engine.protocol.estimates import Verdict

SPARE = 0.95
"""Of a device's room, what a run may be expected to take."""

Need = Callable[[int, bool], float]
"""MB with a micro-batch, with or without gradient checkpointing."""


def judge(
    need: Need, micro_batches: Sequence[int], checkpointing: bool, room_mb: float, where: str
) -> Verdict:
    """The verdict on a run.

    A smaller micro-batch is tried first, since it costs little time; then checkpointing, which costs a third more,
    with the largest micro-batch that fits.

    Args:
        need: memory that the run takes.
        micro_batches: sessions on a device at once: by the settings, then smaller ones that can be taken instead.
        checkpointing: by the settings.
        room_mb: what the device has to offer.
        where: the device, in words.
    """
    room, micro_batch = SPARE * room_mb, micro_batches[0]
    if need(micro_batch, checkpointing) <= room:
        return Verdict(
            fit="fits", micro_batch=micro_batch, checkpointing=checkpointing, words=f"fits {where}"
        )
    tried = [(micro, checkpointing) for micro in micro_batches[1:]]
    if not checkpointing:
        tried += [(micro, True) for micro in micro_batches]
    for micro, again in tried:
        if need(micro, again) <= room:
            how = [f"a micro-batch of {micro}"] if micro != micro_batch else []
            how += ["gradient checkpointing"] if again and not checkpointing else []
            return Verdict(
                fit="adjusted",
                micro_batch=micro,
                checkpointing=again,
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


def smaller(batch: int, below: int) -> list[int]:
    """Micro-batches that a batch can be divided into, from the largest below a number on."""
    return [micro for micro in range(below - 1, 0, -1) if batch % micro == 0]
