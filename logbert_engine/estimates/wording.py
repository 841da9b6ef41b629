"""Figures of an estimate in words."""

from __future__ import annotations

from collections.abc import Sequence

from logbert_engine.protocol.expectation import Figure, StageExpectation, highest, together

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


def seconds(value: float) -> str:
    """A time in the unit that people would use: ``40 ms``, ``12 s``, ``35 min``, ``5.2 h``, ``12 days``."""
    if value < 1:
        return f"{value * 1000:,.0f} ms" if value >= 0.00995 else f"{value * 1000:.2g} ms"
    if value < 2 * _MINUTE:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    if value < 2 * _HOUR:
        return f"{value / _MINUTE:.0f} min"
    if value < 2 * _DAY:
        return f"{value / _HOUR:.1f} h" if value < 10 * _HOUR else f"{value / _HOUR:.0f} h"
    return f"{value / _DAY:,.0f} days"


def duration(figure: Figure) -> str:
    """A time with its range: ``5.2 h (3.1 h–8.8 h)``."""
    return f"{seconds(figure.value)} ({seconds(figure.low)}–{seconds(figure.high)})"


def megabytes(value: float) -> str:
    """``740 MB``, ``3.4 GB``."""
    return f"{value:,.0f} MB" if value < 1000 else f"{value / 1024:,.1f} GB"


def memory(figure: Figure) -> str:
    """Memory with its range."""
    return f"{megabytes(figure.value)} ({megabytes(figure.low)}–{megabytes(figure.high)})"


def dollars(figure: Figure) -> str:
    """Money with its range, in cents where it is little."""
    places = 0 if figure.value >= 20 else 2
    return f"${figure.value:,.{places}f} (${figure.low:,.{places}f}–${figure.high:,.{places}f})"


def flop(value: float) -> str:
    """``2.9e14 FLOP``."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)} FLOP"


def expected_words(stages: Sequence[StageExpectation]) -> str:
    """What stages are expected to take together."""
    times = [stage.seconds for stage in stages if stage.seconds is not None]
    whole, peak = together(times) if len(times) == len(stages) else None, highest(s.memory for s in stages)
    words = [f"{duration(whole)} of training, {whole.origin}"] if whole is not None else []
    words += [f"{memory(peak)} at the peak, {peak.origin}"] if peak is not None else []
    return "; ".join(words)
