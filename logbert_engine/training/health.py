"""Watches a stage's losses and says when one of them rises, does not fall, or is well again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import msgspec

Kind = Literal["rising", "stalling", "recovered"]
Cause = Literal["", "blind", "frequencies", "window", "validation", "parent"]
"""What a finding was measured against: guessing blindly or by frequency, the best window of training losses, the
stage's best validation loss, or that of the stage before."""

WINDOWS = 20
"""Windows of a stage that its training losses are averaged over, at most, unless a window has ``MOST_STEPS``."""
FEWEST = 4
"""Metrics of a window, at least."""
MOST_STEPS = 1000
"""Steps of a window that need not be exceeded, so that a long stage is not found to rise only after hours."""
RISE = 0.10
"""Share by which a window's mean is above the best window's, beside standing clear of the noise."""
VALID_RISE = 0.05
"""Share by which a validation loss is above the best. The same events are hidden each time, so it moves with the
weights alone."""
PARENT_RISE = 2.0
"""The same against the stage before while the stage is under way: its learning rate is high again. Healthy stages
began with up to 1.9 times the loss that the stage before had ended with."""
BLIND = 1.5
"""Times the loss of blind guessing."""
NO_LOWER = 0.95
"""Share of the loss of guessing by frequency above which a model has learned no more than that."""
LEARNED = 0.85
"""The same below which it certainly has."""
KNEW = 0.5
"""The same below which a stage before had learned so much that its loss does not get up there by noise."""
FALLS = 0.25
"""A loss that has fallen since the second quarter, at a pace of this share or more over a whole stage, and clear of
the noise, is on its way."""
SETTLED = 0.25
"""Part of a stage after which its learning rate is past its height. A stage that starts from a trained model
first rises to where that rate holds it: to three times its first losses in healthy runs of preset demo."""


@dataclass(frozen=True)
class Finding:
    """A change of state."""

    kind: Kind
    message: str
    """One sentence with figures, and advice."""


class Losses(msgspec.Struct, kw_only=True):
    """Metrics taken together: how many, the first, the sum of the differences from it, and of their squares."""

    count: int = 0
    first: float = 0.0
    sum: float = 0.0
    squares: float = 0.0

    def add(self, loss: float) -> None:
        """Take one in."""
        if self.count == 0:
            self.first = loss
        self.count += 1
        self.sum += loss - self.first
        self.squares += (loss - self.first) ** 2

    @property
    def mean(self) -> float:
        """Of one or more."""
        return self.first + self.sum / self.count

    @property
    def spread(self) -> float:
        """Sum of squares about the mean."""
        return max(0.0, self.squares - self.sum**2 / self.count)

    @property
    def variance(self) -> float:
        """Of the mean of two or more."""
        return self.spread / (self.count - 1) / self.count


class HealthState(msgspec.Struct, kw_only=True):
    """What a watch remembers between two losses, as plain data."""

    finding: Literal["", "rising", "stalling"] = ""
    cause: Cause = ""
    level: float = 0.0
    """The loss to come down to for a recovery."""
    metrics: int = 0
    recent: list[float] = []
    """The last three metrics."""
    begin: int = 0
    """Step before the open window."""
    window: Losses = msgspec.field(default_factory=Losses)
    """The open window's metrics."""
    windows: int = 0
    """Windows that the best one is the best of, its mean, and its metrics."""
    best: float = 0.0
    best_count: int = 0
    spread: float = 0.0
    """Squares about the means of all windows, relative to the mean, and their degrees of freedom. A window by
    itself has too few metrics to tell its noise, which goes with the loss."""
    freedom: int = 0
    previous: float | None = None
    """Mean of the window before."""
    second: Losses = msgspec.field(default_factory=Losses)
    """Metrics of the stage's second quarter, and of all after it."""
    later: Losses = msgspec.field(default_factory=Losses)
    best_valid: float | None = None


class HealthWatch:
    """Fed with every metric and every epoch of one stage.

    All of it is arithmetic on what the watch remembers, so a resumed stage finds what an uninterrupted one finds.
    The constants are from runs of presets test, demo and transfer on five data sets, with learning rates from
    2e-5 to 1.0.
    """

    def __init__(
        self,
        *,
        blind: float,
        frequencies: float,
        parent_valid: float | None = None,
        state: HealthState | None = None,
    ) -> None:
        """Watch a stage.

        Args:
            blind: the loss of guessing blindly, and ...
            frequencies: ... of guessing by how frequent events are; see ``training.guessing``.
            parent_valid: best validation loss of the stage that this one starts from; None for a new model or a
                body that was trained elsewhere.
            state: goes on from there.
        """
        self.state = state or HealthState()
        self._blind, self._frequencies, self._parent_valid = blind, frequencies, parent_valid
        self._learned = parent_valid is not None and parent_valid <= LEARNED * frequencies

    def metric(self, step: int, steps: int, loss: float) -> Finding | None:
        """Take in a metric.

        Args:
            step: of the stage, from 1.
            steps: of the whole stage.
            loss: mean training loss since the metric before.
        """
        if not math.isfinite(loss):
            return None  # the run stops at it, and says so
        state, loss = self.state, min(loss, _HIGHEST)
        state.metrics += 1
        state.recent = [*state.recent[-2:], loss]
        state.window.add(loss)
        if step * 4 > steps:
            (state.second if step * 2 <= steps else state.later).add(loss)
        found = self._against_blind(step)
        if state.window.count < FEWEST or step - state.begin < min(steps / WINDOWS, MOST_STEPS):
            return found or (self._stalling(1.0) if step >= steps else None)
        closed, state.window, state.begin = state.window, Losses(), step
        return self._window(step, step / steps, closed, found)

    def epoch(self, epoch: int, epochs: int, valid_loss: float) -> Finding | None:
        """Take in an epoch.

        Args:
            epoch: of the stage, from 1.
            epochs: of the whole stage.
            valid_loss: of the fixed validation sample.
        """
        if not math.isfinite(valid_loss):
            return None
        state, parent, best = self.state, self._parent_valid, self.state.best_valid
        state.best_valid = valid_loss if best is None else min(best, valid_loss)
        if state.finding == "rising":
            below = state.cause in ("validation", "parent") and valid_loss <= state.level
            return self._recovered("validation loss", valid_loss) if below else None
        if valid_loss > BLIND * self._blind:
            return self._above_blind(f"validation loss is {valid_loss:.2f} after epoch {epoch}")
        if best is not None and valid_loss > best * (1 + VALID_RISE):
            return self._found(
                "rising",
                "validation",
                best,
                f"the validation loss rose to {valid_loss:.4f} in epoch {epoch}, {valid_loss / best - 1:.0%} above "
                f"the {best:.4f} that it had reached; best_model.pt stays with that epoch. Where the training loss "
                "falls, the model begins to learn by heart: take fewer epochs (--epochs-per-stage) or more "
                f"sessions (--sample-ratio). Else {_LOWER[0].lower()}{_LOWER[1:]}",
            )
        allowed = VALID_RISE if epoch == epochs else PARENT_RISE
        if parent is not None and state.best_valid > parent * (1 + allowed):
            return self._found(
                "rising",
                "parent",
                parent,
                f"the validation loss is {state.best_valid:.4f} after epoch {epoch} of {epochs}, "
                f"{state.best_valid / parent - 1:.0%} above the {parent:.4f} of the stage before, whose model stays "
                f"the better one. {_LOWER} More epochs (--epochs-per-stage) may help too.",
            )
        return None

    def _against_blind(self, step: int) -> Finding | None:
        state, blind = self.state, self._blind
        if state.cause == "blind":
            below = len(state.recent) == 3 and max(state.recent) <= state.level
            return self._recovered("training loss", state.recent[-1]) if below else None
        if state.finding == "rising" or state.metrics < 5 or min(state.recent) <= BLIND * blind:
            return None
        return self._above_blind(f"training loss is {state.recent[-1]:.2f} at step {step} of the stage")

    def _above_blind(self, what: str) -> Finding:
        blind = self._blind
        message = f"the {what}, above the {blind:.2f} that guessing blindly gives. {_LOWER}"
        return self._found("rising", "blind", blind, message)

    def _window(self, step: int, part: float, window: Losses, found: Finding | None) -> Finding | None:
        """A window has closed, perhaps with a metric that led to a finding."""
        state, mean = self.state, window.mean
        state.spread += window.spread / max(mean * mean, 1e-12)
        state.freedom += window.count - 1
        lately = mean if state.previous is None else (mean + state.previous) / 2
        loss = lately if state.finding == "stalling" else mean
        if found is None and state.cause in ("window", "frequencies") and loss <= state.level:
            found = self._recovered("training loss", loss)
        elif found is None and state.finding != "rising":
            found = self._rising(step, mean, window.count, lately) or self._stalling(part)
        if self._parent_valid is None or part > SETTLED:
            if not state.windows or mean < state.best:
                state.best, state.best_count = mean, window.count
            state.windows += 1
        state.previous = mean
        return found

    def _noise(self, mean: float, count: int) -> float:
        """Standard error of a mean of metrics."""
        return mean * math.sqrt(self.state.spread / self.state.freedom / count)

    def _rising(self, step: int, mean: float, count: int, lately: float) -> Finding | None:
        state, parent, frequencies = self.state, self._parent_valid, self._frequencies
        knew = parent is not None and parent <= KNEW * frequencies
        if knew and state.previous is not None and lately > frequencies:
            message = (
                f"the training loss is {lately:.4f} at step {step} of the stage, no lower than the {frequencies:.4f} "
                "that guessing by frequency gives, though the stage began from a trained model (validation loss "
                f"{parent:.4f}). {_LOWER}"
            )
            return self._found("rising", "frequencies", LEARNED * frequencies, message)
        if not state.windows:
            return None
        # The best of n windows and the latest of n both stand at an end of their noise, the farther the larger n.
        clear = 3 + math.sqrt(math.log(state.windows))
        noise = clear * math.hypot(self._noise(mean, count), self._noise(state.best, state.best_count))
        if mean <= state.best * (1 + RISE) or mean <= state.best + noise:
            return None
        message = (
            f"the training loss has risen to {mean:.4f} at step {step} of the stage, {mean / state.best - 1:.0%} "
            f"above the {state.best:.4f} that it had reached. {_LOWER}"
        )
        return self._found("rising", "window", state.best * (1 + RISE / 2), message)

    def _stalling(self, part: float) -> Finding | None:
        state, frequencies = self.state, self._frequencies
        if state.finding or self._learned or min(state.second.count, state.later.count) < FEWEST:
            return None
        second, later = state.second, state.later
        loss, noise = later.mean, 2 * math.sqrt(later.variance)
        if loss <= NO_LOWER * frequencies or loss - noise <= LEARNED * frequencies:
            return None
        fallen, apart = second.mean - loss, (part + 0.5) / 2 - 0.375
        if fallen >= FALLS * apart * second.mean and fallen > 2 * math.sqrt(later.variance + second.variance):
            return None  # on its way
        message = (
            f"the training loss hardly falls: it is {loss:.4f} in the second half of the stage, {part:.0%} of which "
            f"is done, and guessing by how frequent events are gives {frequencies:.4f}. Train longer "
            "(--epochs-per-stage), or try another learning rate (--set training.learning_rate=…): a lower one above "
            "1e-3, a higher one below 1e-4."
        )
        return self._found("stalling", "frequencies", LEARNED * frequencies, message)

    def _found(
        self, kind: Literal["rising", "stalling"], cause: Cause, level: float, message: str
    ) -> Finding:
        self.state.finding, self.state.cause, self.state.level = kind, cause, level
        return Finding(kind, message)

    def _recovered(self, which: str, loss: float) -> Finding:
        state = self.state
        state.finding, state.cause = "", ""
        return Finding("recovered", f"the {which} is well again: {loss:.4f}, below {state.level:.4f}.")


_HIGHEST = 1e6
"""Losses above are taken for this: squares of theirs are more than a number holds."""
_LOWER = (
    "Pause, then give the same train command with a lower learning rate (--set training.learning_rate=…): the stage "
    "begins again, complete ones are kept."
)
