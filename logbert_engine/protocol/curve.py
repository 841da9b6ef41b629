"""The curves of a run in columns, thinned so that a snapshot stays small and spikes stay visible."""

from __future__ import annotations

import msgspec

from logbert_engine.protocol.events import EpochEnded, Metric

MOST_POINTS = 4096
_PARTS = MOST_POINTS // 4


class Curve(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Training figures by ``total_step``, and validation losses beside them. Columns have equal lengths."""

    step: list[int] = []
    stage: list[int] = []
    loss: list[float | None] = []
    lr: list[float] = []
    grad_norm: list[float | None] = []
    events_per_s: list[float | None] = []
    rss_mb: list[float | None] = []
    valid_step: list[int] = []
    valid_stage: list[int] = []
    valid_loss: list[float | None] = []

    def add(self, metric: Metric) -> None:
        """Append a point; past ``MOST_POINTS`` half of them go, spikes stay."""
        self.step.append(metric.total_step)
        self.stage.append(metric.stage)
        self.loss.append(metric.loss)
        self.lr.append(metric.lr)
        self.grad_norm.append(metric.grad_norm)
        self.events_per_s.append(metric.events_per_s)
        self.rss_mb.append(metric.rss_mb)
        if len(self.step) > MOST_POINTS:
            self._keep(self._thinned())

    def add_valid(self, epoch: EpochEnded) -> None:
        """Append the validation loss of an epoch."""
        self.valid_step.append(epoch.total_step)
        self.valid_stage.append(epoch.stage)
        self.valid_loss.append(epoch.valid_loss)

    def cut_after(self, total_step: int) -> None:
        """Drop what lies beyond ``total_step``: it is about to be trained again."""
        self._keep([i for i, step in enumerate(self.step) if step <= total_step])
        kept = [i for i, step in enumerate(self.valid_step) if step <= total_step]
        self.valid_step = [self.valid_step[i] for i in kept]
        self.valid_stage = [self.valid_stage[i] for i in kept]
        self.valid_loss = [self.valid_loss[i] for i in kept]

    def _thinned(self) -> list[int]:
        """Indices to keep: the lowest and the highest loss of each of equal parts of the steps, and the end.

        Equal parts of the steps, not of the points: thinning again and again then keeps the beginning of a
        long run as detailed as its end.
        """
        first, span = self.step[0], max(1, self.step[-1] - self.step[0])
        lowest: dict[int, int] = {}
        highest: dict[int, int] = {}
        for i, (step, loss) in enumerate(zip(self.step, self.loss, strict=True)):
            part = min(max(0, (step - first) * _PARTS // span), _PARTS)
            known = self.loss[lowest[part]] if part in lowest else None
            if known is None or (loss is not None and loss < known):
                lowest[part] = i
            known = self.loss[highest[part]] if part in highest else None
            if known is None or (loss is not None and loss > known):
                highest[part] = i
        return sorted({*lowest.values(), *highest.values(), len(self.step) - 1})

    def _keep(self, indices: list[int]) -> None:
        if len(indices) == len(self.step):
            return
        self.step = [self.step[i] for i in indices]
        self.stage = [self.stage[i] for i in indices]
        self.loss = [self.loss[i] for i in indices]
        self.lr = [self.lr[i] for i in indices]
        self.grad_norm = [self.grad_norm[i] for i in indices]
        self.events_per_s = [self.events_per_s[i] for i in indices]
        self.rss_mb = [self.rss_mb[i] for i in indices]
