"""Ways in which a file on a disk goes bad."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, Path], None]
"""Of a file, with one of the same name in another place at hand."""
PLACES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999999)


def flip(place: float, bit: int = 3) -> Damage:
    def do(path: Path, _other: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1 << bit
        path.write_bytes(content)

    return do


def cut(place: float) -> Damage:
    def do(path: Path, _other: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(place * len(content))])

    return do


def zero(path: Path, _other: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def swap(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


DAMAGES: dict[str, Damage] = {
    **{f"flipped at {place}": flip(place) for place in PLACES},
    "truncated to nothing": cut(0.0),
    "truncated to half": cut(0.5),
    "truncated by a byte": cut(0.999999),
    "zeroed": zero,
    "of another stage": swap,
}
