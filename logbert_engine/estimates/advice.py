"""Which preset to take, in the three situations that the source documents tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from logbert_engine.protocol.estimates import Estimate
from logbert_engine.protocol.figures_in_words import cost, duration


def advice(estimates: Sequence[Estimate]) -> list[str]:
    """One sentence for each situation whose presets are among the estimates."""
    by_name = {estimate.preset: estimate for estimate in estimates}
    told = [_with_budget(by_name), _without(by_name), _with_dgx(by_name)]
    return [words for words in told if words]


def _with_budget(by_name: Mapping[str, Estimate]) -> str:
    rented = [by_name[name] for name in ("cloud-colab", "cloud-v100") if name in by_name]
    words = [part for estimate in rented if (part := _there(estimate))]
    return f"With a budget: {'; then '.join(words)}." if words else ""


def _without(by_name: Mapping[str, Estimate]) -> str:
    here = [by_name[name] for name in ("transfer", "small", "quick") if name in by_name]
    words = [part for estimate in here if (part := _here(estimate))]
    return f"Without one: on this machine {', or '.join(words)}." if words else ""


def _with_dgx(by_name: Mapping[str, Estimate]) -> str:
    if "dgx" not in by_name:
        return ""
    estimate = by_name["dgx"]
    words = (
        _here(estimate) if estimate.devices > 1 and estimate.verdict.fit != "too large" else _there(estimate)
    )
    return f"With a DGX: {words}." if words else ""


def _here(estimate: Estimate) -> str:
    if estimate.verdict.fit not in ("fits", "adjusted"):
        return ""
    time = f" ({duration(estimate.seconds)})" if estimate.seconds is not None else ""
    return f"{estimate.preset}{time}"


def _there(estimate: Estimate) -> str:
    there = estimate.elsewhere
    if there is None or not there.fits:
        return ""
    figures = [duration(there.seconds)] if there.seconds is not None else []
    figures += [cost(there.cost)] if there.cost is not None else [there.price] if there.price else []
    return f"{estimate.preset} on {there.machine}" + (f" ({', '.join(figures)})" if figures else "")
