from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.presets.types import Training
from logbert_engine.training.schedule import learning_rate

SETTINGS = Training(learning_rate=1e-3, final_share=0.05, warmup_steps=100)


def rates(steps: int, settings: Training = SETTINGS) -> list[float]:
    return [learning_rate(step, steps, settings) for step in range(1, steps + 1)]


def test_the_rate_rises_in_a_line_to_its_peak_and_falls_to_its_final_share() -> None:
    of = rates(2000)
    assert of[0] == pytest.approx(1e-5)
    assert of[49] == pytest.approx(5e-4)
    assert of[99] == max(of) == pytest.approx(1e-3)
    assert of[-1] == pytest.approx(5e-5)
    middle = of[100 + 950 - 1]
    assert middle == pytest.approx((1e-3 + 5e-5) / 2, rel=1e-3)


def test_a_short_stage_warms_up_over_a_tenth_of_its_steps() -> None:
    of = rates(200)
    assert of.index(max(of)) == 19


@given(st.integers(1, 500), st.integers(0, 200), st.floats(0, 0.99), st.floats(1e-6, 1.0))
def test_the_rate_is_never_above_the_peak_nor_below_the_final_share_after_warm_up(
    steps: int, warmup: int, final: float, peak: float
) -> None:
    settings = Training(learning_rate=peak, warmup_steps=warmup, final_share=final)
    of = rates(steps, settings)
    warm = min(warmup, steps // 10)
    assert max(of) <= peak * (1 + 1e-12)
    assert of[:warm] == sorted(of[:warm])
    assert of[warm:] == sorted(of[warm:], reverse=True)
    assert min(of[warm:]) >= peak * final * (1 - 1e-12)
    assert all(rate > 0 for rate in of[:warm])
    assert of[-1] == pytest.approx(peak * final if steps > 1 else peak, abs=peak * 1e-9)


def test_no_warm_up_and_a_single_step_divide_by_nothing() -> None:
    assert len(rates(1)) == 1
    assert rates(9, Training(warmup_steps=0))[0] == Training().learning_rate
