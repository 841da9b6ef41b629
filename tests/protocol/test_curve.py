"""Curves stay small and keep their spikes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from logbert_engine.protocol.curve import MOST_POINTS, Curve
from logbert_engine.protocol.events import EpochEnded, Metric


def metric(step: int, loss: float | None = 1.0) -> Metric:
    return Metric(stage=1, epoch=1, step=step, steps=10**6, total_step=step, loss=loss, lr=step / 10)


def epoch(step: int) -> EpochEnded:
    return EpochEnded(
        stage=1,
        epoch=1,
        total_step=step,
        train_loss=1.0,
        valid_loss=2.0,
        seconds=1,
        checkpoint="",
        best=False,
    )


def columns(curve: Curve) -> set[int]:
    return {
        len(c)
        for c in (
            curve.step,
            curve.stage,
            curve.loss,
            curve.lr,
            curve.grad_norm,
            curve.events_per_s,
            curve.rss_mb,
        )
    }


def test_a_long_curve_stays_within_its_limit_and_keeps_every_spike():
    curve = Curve()
    spikes = {5, 4000, 20_001, 49_000}
    for step in range(1, 50_001):
        curve.add(metric(step, 100.0 + step if step in spikes else 1.0))
    assert len(curve.step) <= MOST_POINTS
    assert {s for s, v in zip(curve.step, curve.loss, strict=True) if v > 10} == spikes
    assert columns(curve) == {len(curve.step)}
    assert curve.step == sorted(set(curve.step))
    assert curve.lr == [s / 10 for s in curve.step], "columns stay together"


def test_the_beginning_of_a_long_run_is_as_detailed_as_its_end():
    curve = Curve()
    for step in range(1, 60_001):
        curve.add(metric(step, float(step % 97)))
    quarters = [sum(low < s <= low + 15_000 for s in curve.step) for low in range(0, 60_000, 15_000)]
    assert min(quarters[:3]) > 200
    assert max(quarters[:3]) < 3 * min(quarters[:3])


def test_the_newest_point_is_always_there():
    curve = Curve()
    for step in range(1, 3 * MOST_POINTS):
        curve.add(metric(step, float(step % 7)))
        assert curve.step[-1] == step


def test_losses_that_are_not_finite_do_not_disturb_thinning():
    curve = Curve()
    for step in range(1, 3 * MOST_POINTS):
        curve.add(metric(step, None if step % 3 else 1.0))
    assert len(curve.step) <= MOST_POINTS
    assert None in curve.loss


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 60), unique=True, max_size=30).map(sorted),
    st.lists(st.integers(1, 60), unique=True, max_size=10).map(sorted),
    st.integers(0, 60),
)
def test_nothing_is_left_beyond_the_cut(steps, epochs, cut):
    curve = Curve()
    for step in steps:
        curve.add(metric(step))
    for step in epochs:
        curve.add_valid(epoch(step))
    curve.cut_after(cut)
    assert curve.step == [s for s in steps if s <= cut]
    assert curve.valid_step == [s for s in epochs if s <= cut]
    assert len(curve.valid_loss) == len(curve.valid_stage) == len(curve.valid_step)
    assert columns(curve) == {len(curve.step)}
