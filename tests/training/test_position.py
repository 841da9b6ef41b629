from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from logbert_engine.data.batches import EpochPlan, assemble, pieces_of, plan_epoch
from logbert_engine.data.masks import training_mask
from logbert_engine.data.store import Store
from logbert_engine.data.unknown import show_as_unknown
from logbert_engine.models.checkpoint import load_model
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import new_model
from logbert_engine.models.vocabulary import AROUND, Vocabulary
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.types import Encoder, RunConfig, Training
from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.protocol.runstate import EpochResult
from logbert_engine.rundir.layout import StageLayout
from logbert_engine.training.origin import Origin, origin
from logbert_engine.training.position import Exact, Position, save_interval
from logbert_engine.training.random_states import seed_all
from logbert_engine.training.schedule import learning_rate
from logbert_engine.training.step import Updater, accumulate, batch_weight, make_optimizer
from logbert_engine.training.team import Place, Team

SETTINGS = Training(batch=8, micro_batch=4, learning_rate=3e-3)
HERE = Origin(stage="stage_1_10pct", config="c", data="d", parent="new")


class Trainer:
    """A stage's loop without its journal: two epochs in the order that the seed gives."""

    def __init__(self, store: Store, vocabulary: Vocabulary, compute: Compute, seed: int) -> None:
        self.store, self.vocabulary, self.compute = store, vocabulary, compute
        sizes = Encoder(hidden=16, layers=2, heads=2, max_length=14, dropout=0.3)
        self.model = new_model(sizes, vocabulary, seed).train()
        self.optimizer = make_optimizer(self.model, SETTINGS)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.updater = Updater(self.model, self.optimizer, self.scaler, SETTINGS.clip)
        self.position = Position()
        self.odds = np.where(np.arange(vocabulary.size) < vocabulary.first, 0.0, 0.2)
        self.pieces = pieces_of(store, np.arange(store.n_sessions, dtype=np.int64), 14)
        seed_all(seed)

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
        batch = assemble(self.store, self.pieces, plan.piece[rows], lookup, AROUND, plan.view[rows])
        visit = plan.visit[rows]
        hidden = training_mask(batch, visit, (0.15, 0.75), seed=1, stage=1, epoch=epoch + 1)
        batch, hidden = show_as_unknown(batch, hidden, visit, self.odds, seed=1, stage=1, epoch=epoch + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.position.step + 1, 2 * len(plan), SETTINGS)
        weight, chosen = plan.weight[rows], np.arange(len(hidden))
        loss_sum = accumulate(
            self.model, self.scaler, batch, hidden, weight, chosen, SETTINGS.micro_batch, self.compute
        )
        done = self.updater.update(loss_sum, batch_weight(hidden, weight))
        return float(done.loss_sum) / done.weight

    def _plan(self, epoch: int) -> EpochPlan:
        return plan_epoch(
            self.pieces,
            batch=8,
            duplicate_weight=4,
            seed=1,
            stage=1,
            epoch=epoch,
            views=("order", "next", "bag"),
        )

    def exact(self, folder: Path, belongs: Origin = HERE) -> Exact:
        team = Team(Place(), self.compute.device)
        layout = StageLayout(folder / "stage_1_10pct")
        return Exact(layout, belongs, team, self.compute, self.model, self.optimizer, self.scaler)

    def save(self, folder: Path) -> Path:
        self.exact(folder).save(self.position, SETTINGS.micro_batch)
        return StageLayout(folder / "stage_1_10pct").resume

    def restore(self, folder: Path, micro_batch: int = SETTINGS.micro_batch) -> list[str]:
        whole = self.exact(folder)
        payload, problems = whole.read()
        self.position, differences = whole.restore(payload, micro_batch)
        return problems + differences


@pytest.mark.parametrize("cut", [0, 1, 7, 13])
def test_going_on_from_a_saved_state_gives_the_bits_of_an_uninterrupted_run(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path, cut: int
) -> None:
    whole = Trainer(store, vocabulary, compute, seed=3)
    expected = whole.steps(18)
    first = Trainer(store, vocabulary, compute, seed=3)
    losses = first.steps(cut)
    first.save(tmp_path)
    second = Trainer(store, vocabulary, compute, seed=99)
    torch.rand(7)
    second.restore(tmp_path)
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
    again.save(tmp_path)
    again.restore(tmp_path)
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
    saving.save(tmp_path)
    assert losses + saving.steps(5) == expected


def test_a_position_comes_back_with_every_figure(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    trainer = Trainer(store, vocabulary, compute, seed=3)
    epoch = EpochResult(epoch=1, total_step=9, train_loss=0.1, valid_loss=1 / 3, seconds=2.5, best=True)
    trainer.position = Position(
        step=11,
        seconds=0.1 + 0.2,
        steps_s=0.1,
        validation_s=0.2,
        windows=[(10, 0.05), (3, 0.02)],
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
    trainer.save(tmp_path)
    trainer.restore(tmp_path)
    assert trainer.position == expected


def test_a_state_of_before_steps_were_timed_apart_counts_all_of_its_time_as_theirs(
    store: Store,
    vocabulary: Vocabulary,
    compute: Compute,
    tmp_path: Path,
) -> None:
    trainer = Trainer(store, vocabulary, compute, seed=3)
    trainer.position = Position(step=4, seconds=12.5)
    trainer.save(tmp_path)
    exact = trainer.exact(tmp_path)
    payload, _ = exact.read()
    del payload["position"]["steps_s"], payload["position"]["windows"]
    position, _ = exact.restore(payload, SETTINGS.micro_batch)
    assert (position.steps_s, position.windows) == (12.5, [])


def test_steps_of_other_terms_do_not_pass_for_those_before(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    trainer = Trainer(store, vocabulary, compute, seed=3)
    trainer.position = Position(step=4, windows=[(2, 0.5)])
    trainer.save(tmp_path)
    trainer.restore(tmp_path)
    assert trainer.position.windows == [(2, 0.5)]
    trainer.restore(tmp_path, micro_batch=2)
    assert trainer.position.windows == []


def test_a_state_of_other_settings_data_parent_or_stage_is_refused(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    trainer = Trainer(store, vocabulary, compute, seed=3)
    trainer.save(tmp_path)
    for changed, reason in (
        ({"data": "other"}, "the sessions are others"),
        ({"parent": "other"}, "the checkpoint that the stage started from"),
        ({"config": "other"}, "other settings"),
        ({"stage": "stage_2_20pct"}, "other settings"),
    ):
        with pytest.raises(CheckpointError, match=reason):
            trainer.exact(tmp_path, msgspec.structs.replace(HERE, **changed)).read()


def test_a_damaged_state_is_named_and_the_one_before_it_is_used(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    trainer = Trainer(store, vocabulary, compute, seed=3)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        trainer.restore(tmp_path)
    trainer.steps(3)
    trainer.save(tmp_path)
    trainer.steps(5)
    path = trainer.save(tmp_path)
    with pytest.raises(CheckpointError, match="not a model file"):
        load_model(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (problem,) = trainer.restore(tmp_path)
    assert "resume.pt" in problem
    assert "damaged" in problem
    assert trainer.position.step == 3


def test_other_terms_are_named(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    trainer = Trainer(store, vocabulary, compute, seed=3)
    trainer.save(tmp_path)
    assert trainer.restore(tmp_path) == []
    assert trainer.restore(tmp_path, micro_batch=2) == ["sessions at once 2 instead of 4"]


def test_all_generators_go_on_where_they_were(
    store: Store, vocabulary: Vocabulary, compute: Compute, tmp_path: Path
) -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.standard_normal()), float(torch.rand(()))

    trainer = Trainer(store, vocabulary, compute, seed=3)
    draws()  # leaves half of a pair of normal numbers behind
    trainer.save(tmp_path)
    expected = [draws() for _ in range(3)]
    seed_all(99)
    trainer.restore(tmp_path)
    assert [draws() for _ in range(3)] == expected


@pytest.fixture
def config(request_for: Callable[..., RunSpec]) -> RunConfig:
    return resolve(request_for())


def changed(config: RunConfig, part: str, **values: object) -> RunConfig:
    inner = msgspec.structs.replace(getattr(config, part), **values)
    return msgspec.structs.replace(config, **{part: inner})


def test_what_a_state_belongs_to_is_all_that_determines_the_training(config: RunConfig) -> None:
    own = origin("stage_1_10pct", config, "f", "p")
    others = [
        origin("stage_2_20pct", config, "f", "p"),
        origin("stage_1_10pct", config, "g", "p"),
        origin("stage_1_10pct", config, "f", "q"),
        origin("stage_1_10pct", msgspec.structs.replace(config, seed=1), "f", "p"),
        origin("stage_1_10pct", changed(config, "training", batch=16), "f", "p"),
        origin("stage_1_10pct", changed(config, "model", dropout=0.2), "f", "p"),
        origin("stage_1_10pct", changed(config, "data", sample_ratio=0.5), "f", "p"),
        origin("stage_1_10pct", changed(config, "stages", epochs=7), "f", "p"),
        origin("stage_1_10pct", changed(config, "stages", start_ratio=0.05), "f", "p"),
    ]
    assert own not in others
    assert len(set(others)) == len(others)


def test_how_far_a_run_goes_and_where_it_runs_do_not_matter(config: RunConfig) -> None:
    own = origin("stage_1_10pct", config, "f", "p")
    longer = changed(changed(config, "stages", max_ratio=0.5), "memory", max_mb=1.0)
    longer = changed(changed(longer, "training", micro_batch=2, log_every=1), "workers", nproc=2)
    elsewhere = msgspec.structs.replace(longer, device="cpu", documented={})
    assert origin("stage_1_10pct", elsewhere, "f", "p") == own


@pytest.mark.parametrize(
    ("wanted", "took", "expected"), [(300, 1.0, 300), (300, 6.0, 300), (300, 8.0, 400), (300, 60.0, 600)]
)
def test_a_slow_disk_is_saved_to_less_often_but_at_most_half_as_often(
    wanted: float, took: float, expected: float
) -> None:
    assert save_interval(wanted, took) == pytest.approx(expected)
