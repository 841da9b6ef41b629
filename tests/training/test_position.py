from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from logbert_engine.data.batches import EpochPlan, assemble, pieces_of, plan_epoch
from logbert_engine.data.masks import training_mask
from logbert_engine.data.store import Store
from logbert_engine.models.checkpoint import load_model
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import new_model
from logbert_engine.models.vocabulary import CLS, END, PAD, Vocabulary
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.types import Encoder, RunConfig, Training
from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.protocol.runstate import EpochResult
from logbert_engine.training import position as exact
from logbert_engine.training.position import Origin, Position
from logbert_engine.training.schedule import learning_rate
from logbert_engine.training.step import make_optimizer, optimizer_step

SETTINGS = Training(batch=8, micro_batch=4, learning_rate=3e-3)
HERE = Origin(stage="stage_1_10pct", config="c", data="d")


class Trainer:
    """A stage's loop without its journal: two epochs in the order that the seed gives."""

    def __init__(self, store: Store, vocabulary: Vocabulary, compute: Compute, seed: int) -> None:
        self.store, self.vocabulary, self.compute = store, vocabulary, compute
        sizes = Encoder(hidden=16, layers=2, heads=2, max_length=14, dropout=0.3)
        self.model = new_model(sizes, vocabulary, seed).train()
        self.optimizer = make_optimizer(self.model, SETTINGS)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.position = Position()
        self.pieces = pieces_of(store, np.arange(store.n_sessions, dtype=np.int64), 14)
        torch.manual_seed(seed)

    def steps(self, until: int) -> list[float]:
        losses = []
        while self.position.step < until:
            losses.append(self._step())
            self.position.step += 1
        return losses

    def _step(self) -> float:
        plans = [self._plan(epoch) for epoch in (1, 2)]
        epoch, index = divmod(self.position.step, len(plans[0]))
        plan = plans[epoch]
        rows = slice(plan.bounds[index], plan.bounds[index + 1])
        lookup = self.vocabulary.lookup(self.store.events)
        batch = assemble(self.store, self.pieces, plan.piece[rows], lookup, (PAD, CLS, END))
        hidden = training_mask(batch, plan.visit[rows], (0.15, 0.75), seed=1, stage=1, epoch=epoch + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.position.step + 1, 2 * len(plan), SETTINGS)
        done = optimizer_step(
            self.model, self.optimizer, self.scaler, batch, hidden, plan.weight[rows], SETTINGS, self.compute
        )
        return float(done.loss_sum) / done.weight

    def _plan(self, epoch: int) -> EpochPlan:
        return plan_epoch(self.pieces, batch=8, duplicate_weight=4, seed=1, stage=1, epoch=epoch)

    def save(self, path: Path) -> None:
        exact.save(path, self.position, HERE, self.model, self.optimizer, self.scaler, self.compute)

    def restore(self, path: Path) -> None:
        payload = exact.read(path, HERE)
        self.position = exact.restore(payload, self.model, self.optimizer, self.scaler, self.compute)


@pytest.mark.parametrize("cut", [0, 1, 7, 13])
def test_going_on_from_a_saved_state_gives_the_bits_of_an_uninterrupted_run(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path, cut: int
) -> None:
    whole = Trainer(store, vocabulary, compute, seed=3)
    expected = whole.steps(18)
    first = Trainer(store, vocabulary, compute, seed=3)
    losses = first.steps(cut)
    first.save(tmp_path / "resume.pt")
    second = Trainer(store, vocabulary, compute, seed=99)
    torch.rand(7)
    second.restore(tmp_path / "resume.pt")
    losses += second.steps(18)
    assert losses == expected
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], tensor), name
    ours, theirs = second.optimizer.state_dict()["state"], whole.optimizer.state_dict()["state"]
    for parameter, state in theirs.items():
        assert all(torch.equal(ours[parameter][key], value) for key, value in state.items())


def test_without_the_generators_state_the_rest_would_differ(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    whole = Trainer(store, vocabulary, compute, seed=3)
    expected = whole.steps(4)
    again = Trainer(store, vocabulary, compute, seed=3)
    again.steps(2)
    again.save(tmp_path / "resume.pt")
    again.restore(tmp_path / "resume.pt")
    torch.manual_seed(12345)
    assert again.steps(4) != expected[2:]


def test_saving_disturbs_nothing(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    plain, saving = (Trainer(store, vocabulary, compute, seed=3) for _ in range(2))
    torch.manual_seed(4)
    expected = plain.steps(5)
    torch.manual_seed(4)
    losses = saving.steps(2)
    saving.save(tmp_path / "resume.pt")
    assert losses + saving.steps(5) == expected


def test_a_position_comes_back_with_every_figure(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    trainer = Trainer(store, vocabulary, compute, seed=3)
    epoch = EpochResult(epoch=1, total_step=9, train_loss=0.1, valid_loss=1 / 3, seconds=2.5, best=True)
    trainer.position = Position(
        step=11,
        seconds=0.1 + 0.2,
        window_loss=1e-300,
        epochs=[epoch],
        best_epoch=1,
        best_valid_loss=1 / 3,
        peak_device_mb=None,
        started_at="2025-03-01T10:00:00",
        steps=[1, 2],
        losses=[0.5, None],
        rates=[1e-3, 1e-4],
    )
    expected = trainer.position
    trainer.save(tmp_path / "resume.pt")
    trainer.restore(tmp_path / "resume.pt")
    assert trainer.position == expected


def test_a_state_of_other_settings_data_or_stage_is_refused(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    path = tmp_path / "resume.pt"
    Trainer(store, vocabulary, compute, seed=3).save(path)
    with pytest.raises(CheckpointError, match="the session files have changed"):
        exact.read(path, msgspec.structs.replace(HERE, data="other"))
    for changed in ({"config": "other"}, {"stage": "stage_2_20pct"}):
        with pytest.raises(CheckpointError, match="other settings"):
            exact.read(path, msgspec.structs.replace(HERE, **changed))


def test_a_damaged_state_and_a_model_file_are_refused(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    path = tmp_path / "resume.pt"
    Trainer(store, vocabulary, compute, seed=3).save(path)
    with pytest.raises(CheckpointError, match="not a model file"):
        load_model(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"resume\.pt is damaged"):
        exact.read(path, HERE)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        exact.read(tmp_path / "nowhere.pt", HERE)


@pytest.fixture
def config(request_for: Callable[..., RunSpec]) -> RunConfig:
    return resolve(request_for())


def changed(config: RunConfig, part: str, **values: object) -> RunConfig:
    inner = msgspec.structs.replace(getattr(config, part), **values)
    return msgspec.structs.replace(config, **{part: inner})


def test_what_a_state_belongs_to_is_all_that_determines_the_training(config: RunConfig) -> None:
    own = exact.origin("stage_1_10pct", config, "f")
    others = [
        exact.origin("stage_2_20pct", config, "f"),
        exact.origin("stage_1_10pct", config, "g"),
        exact.origin("stage_1_10pct", msgspec.structs.replace(config, seed=1), "f"),
        exact.origin("stage_1_10pct", changed(config, "training", batch=16), "f"),
        exact.origin("stage_1_10pct", changed(config, "model", dropout=0.2), "f"),
        exact.origin("stage_1_10pct", changed(config, "data", sample_ratio=0.5), "f"),
        exact.origin("stage_1_10pct", changed(config, "stages", epochs=7), "f"),
        exact.origin("stage_1_10pct", changed(config, "stages", start_ratio=0.05), "f"),
    ]
    assert own not in others
    assert len(set(others)) == len(others)


def test_how_far_a_run_goes_and_where_it_runs_do_not_matter(config: RunConfig) -> None:
    own = exact.origin("stage_1_10pct", config, "f")
    longer = changed(changed(config, "stages", max_ratio=0.5), "memory", max_mb=1.0)
    elsewhere = msgspec.structs.replace(longer, device="cpu", documented={})
    assert exact.origin("stage_1_10pct", elsewhere, "f") == own
