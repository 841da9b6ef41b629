"""The running figures of a stage: losses as they come from the device, and the metrics made of them."""

from __future__ import annotations

import math
import time

import psutil

from logbert_engine.hardware.peak import PeakMeter
from logbert_engine.models.device import device_mb, peak_device_mb, resident_mb
from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.events import Metric, StagePlan
from logbert_engine.protocol.expectation import peak_mb
from logbert_engine.training.context import RunContext
from logbert_engine.training.position import Position
from logbert_engine.training.step import StepResult


class Figures:
    """Takes in the results of steps and tells a metric every few of them. The same on every rank."""

    def __init__(self, context: RunContext, plan: StagePlan, steps_before: int) -> None:
        self._context, self._plan, self._steps_before = context, plan, steps_before
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._peak = PeakMeter()
        self._pending: list[tuple[int, StepResult]] = []
        self._clock: float | None = None
        self._window_begin = time.monotonic()
        self._window_sessions, self._window_events, self._window_steps = 0.0, 0, 0
        self._used_to_it = False
        self.used_mb = 0.0
        """Most memory that this process took where it trains, in the window of the last metric."""

    def start_clock(self, position: Position) -> None:
        """From here on time counts as training time, in a new window for rates and for the peak of memory."""
        position.peak_rss_mb = max(position.peak_rss_mb, self._peak.take())
        self._clock = self._window_begin = time.monotonic()
        self._window_sessions, self._window_events, self._window_steps = 0.0, 0, 0

    def stop_clock(self, position: Position) -> None:
        """Add the time since the clock was started to the stage's; from here on none counts."""
        if self._clock is None:
            return
        spent = time.monotonic() - self._clock
        self._clock = None
        position.seconds += spent
        position.epoch_seconds += spent
        position.steps_s += spent

    def take(self, position: Position, done: StepResult, sessions: float, events: int) -> None:
        """Take in a step without waiting for the device."""
        self._pending.append((position.step, done))
        position.sessions += sessions
        self._window_sessions += sessions
        self._window_events += events
        self._window_steps += 1

    def read(self, position: Position) -> float | None:
        """Take in the losses of the steps since the last call; this is where the device is waited for.

        Returns:
            The gradient norm of the last of them.

        Raises:
            RunError: a loss or a gradient is not finite. The weights are as they were before that step.
        """
        norm = None
        for step, done in self._pending:
            value, norm = float(done.loss_sum), float(done.grad_norm)
            overflow = not math.isfinite(norm) and self._context.compute.precision != "fp16"
            if not math.isfinite(value) or overflow:
                self._pending.clear()
                raise RunError(self.not_finite("loss" if not math.isfinite(value) else "gradient", step))
            position.window_loss += value
            position.window_weight += done.weight
            position.epoch_loss += value
            position.epoch_weight += done.weight
        self._pending.clear()
        return norm

    def metric(self, position: Position, epoch: int, rate: float) -> float:
        """Journal the figures of the window that ends here; returns its loss.

        Raises:
            RunError: as ``read``.
        """
        context, compute = self._context, self._context.compute
        grad_norm = self.read(position)
        loss = position.window_loss / position.window_weight
        position.window_loss = position.window_weight = 0.0
        span = max(time.monotonic() - self._window_begin, 1e-9)
        self.stop_clock(position)
        if self._used_to_it:
            position.windows.append((self._window_steps, round(span, 6)))
        self._used_to_it = True
        sessions_per_s, events_per_s = self._window_sessions / span, self._window_events / span
        rss, peak_rss, on_device = resident_mb(), self._peak.take(), device_mb(compute)
        position.peak_rss_mb = max(position.peak_rss_mb, peak_rss)
        if on_device is not None:
            peak = peak_device_mb(compute) or on_device
            position.peak_device_mb = max(position.peak_device_mb or 0.0, peak)
            self.used_mb = peak_mb(compute.kind, peak_rss, peak)
        else:
            self.used_mb = peak_rss
        self.start_clock(position)
        position.steps.append(position.step)
        position.losses.append(round(loss, 6))
        position.rates.append(rate)
        context.recorder.metric(
            Metric(
                stage=self._plan.index,
                epoch=epoch,
                step=position.step,
                steps=self._plan.steps,
                total_step=self._steps_before + position.step,
                loss=loss,
                lr=rate,
                grad_norm=grad_norm,
                sessions_per_s=round(sessions_per_s, 1),
                events_per_s=round(events_per_s, 1),
                rss_mb=round(rss, 1),
                device_mb=None if on_device is None else round(on_device, 1),
                cpu_percent=self.cpu_percent(),
                stage_s=round(position.seconds, 3),
                steps_s=round(position.steps_s, 3),
                peak_rss_mb=round(position.peak_rss_mb, 1),
                peak_device_mb=position.peak_device_mb,
            )
        )
        return loss

    def other_steps(self, position: Position) -> None:
        """From here on steps are not like those before."""
        position.windows.clear()
        self._used_to_it = False

    def cpu_percent(self) -> float:
        """Of this process, since the last call."""
        return self._process.cpu_percent()

    def not_finite(self, what: str, step: int) -> str:
        """The sentence for a loss that is no number."""
        return (
            f"the {what} of {self._plan.name} is not finite at step {step}; training stopped before that update and "
            "the best model so far is untouched. Give the same train command with a lower learning rate "
            "(--set training.learning_rate=…): the stage begins again."
        )
