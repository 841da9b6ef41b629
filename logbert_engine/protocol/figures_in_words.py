"""Figures in words, the same in the console and on the command line: 512 MB; 5.2 h (3.1 h–8.8 h), computed."""

from __future__ import annotations

from collections.abc import Sequence

from logbert_engine.protocol.estimates import Elsewhere, Estimate
from logbert_engine.protocol.expectation import Figure, StageExpectation, highest, together

NONE = "–"
"""What stands for a figure that is not known."""
THEIRS = "The source documents expect (theirs, not measured)"
"""Above what the documents say."""
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


def time(figure: Figure | None) -> str:
    """The same with its origin; a dash where nothing is known."""
    return NONE if figure is None else f"{duration(figure)}, {figure.origin}"


def megabytes(value: float) -> str:
    """A size given in MB: ``512 MB``, ``7.8 GB``."""
    if value < 999.5:
        return f"{value:.0f} MB"
    gigabytes = value / 1024
    return f"{gigabytes:.1f} GB" if gigabytes < 99.95 else f"{gigabytes:,.0f} GB"


def memory(figure: Figure) -> str:
    """Memory with its range."""
    return f"{megabytes(figure.value)} ({megabytes(figure.low)}–{megabytes(figure.high)})"


def dollars(value: float) -> str:
    """Money, in cents where it is little."""
    return f"${value:,.{_places(value)}f}"


def cost(figure: Figure) -> str:
    """Money with its range."""
    places = _places(figure.value)
    return f"{dollars(figure.value)} (${figure.low:,.{places}f}–${figure.high:,.{places}f})"


def expected(stages: Sequence[StageExpectation]) -> str:
    """What stages are expected to take together."""
    times = [stage.seconds for stage in stages if stage.seconds is not None]
    whole, peak = together(times) if len(times) == len(stages) else None, highest(s.memory for s in stages)
    words = [f"{duration(whole)} of training, {whole.origin}"] if whole is not None else []
    words += [f"{memory(peak)} at the peak, {peak.origin}"] if peak is not None else []
    return "; ".join(words)


def flop(value: float) -> str:
    """``2.9e14 FLOP``."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)} FLOP"


def parameters(estimate: Estimate) -> str:
    """All of them, and by part."""
    parts = ", ".join(f"{name} {count / 1e6:,.1f} M" for name, count in estimate.parameter_parts.items())
    return f"{estimate.parameters / 1e6:,.1f} M ({parts})"


def work(estimate: Estimate) -> str:
    """What a step has to compute."""
    return (
        f"{flop(estimate.flop_per_step)} a step: {estimate.batch} sequences of {estimate.tokens} tokens, "
        f"{flop(estimate.flop_per_token)} a token"
    )


def where(estimate: Estimate) -> str:
    """The device: ``4 × Tesla V100 (cuda, fp16)``."""
    many = f"{estimate.devices} × " if estimate.devices > 1 else ""
    return f"{many}{estimate.device_name or estimate.device} ({estimate.device}, {estimate.precision})"


def there_in_words(there: Elsewhere) -> list[tuple[str, str]]:
    """Name and text of what is known of a run on the machine that its preset was written for."""
    rows = []
    if there.seconds is not None:
        rows.append(("whole run", duration(there.seconds)))
    if (rate := there.steps_per_s) is not None:
        rows.append(("rate", f"{rate.value:.3g} ({rate.low:.3g}–{rate.high:.3g}) steps/s"))
    price = [cost(there.cost)] if there.cost is not None else []
    price += [there.price] if there.price else []
    if price:
        rows.append(("cost", ", ".join(price)))
    return rows


def _places(value: float) -> int:
    return 0 if value >= 20 else 2
