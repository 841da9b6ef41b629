from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from logbert_engine.data.normals import normals_of
from logbert_engine.data.sampling import Split, part_of
from logbert_engine.data.store import Store
from logbert_engine.detection.evidence import evidence_of, places_left_out, statistics_of
from logbert_engine.detection.nearest import Nearest
from logbert_engine.detection.rules import RULES, Findings, Rules
from logbert_engine.detection.scoring import score_store
from logbert_engine.models.checkpoint import Calibration, ModelRecord
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel, new_model
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.types import Encoder, View
from logbert_engine.protocol.events import StagePlan
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir import control
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training.context import RunContext
from logbert_engine.training.hypersphere import centres_of
from logbert_engine.training.recorder import Recorder
from logbert_engine.training.team import Place, Team
from logbert_engine.training.validation import validate
from logbert_engine.training.wishes import Interrupted, Wishes

SIZES = Encoder(hidden=16, layers=1, heads=2, max_length=14, rotations=2)


@pytest.fixture(params=[("order",), ("next", "bag")], ids=["order", "next and bag"])
def views(request: pytest.FixtureRequest) -> tuple[View, ...]:
    """How the model reads sessions."""
    chosen: tuple[View, ...] = request.param
    return chosen


@pytest.fixture
def context(
    store: Store,
    views: tuple[View, ...],
    vocabulary: Vocabulary,
    run: RunLayout,
    compute: Compute,
    request_for: Callable[..., RunSpec],
) -> Iterator[RunContext]:
    sessions = np.arange(store.n_sessions, dtype=np.int64)
    run.root.mkdir()
    recorder = Recorder(run)
    yield RunContext(
        run=run,
        config=resolve(request_for()),
        sizes=msgspec.structs.replace(SIZES, views=views),
        room=14,
        compute=compute,
        store=store,
        split=Split(train=sessions[:30], valid=sessions[30:]),
        vocabulary=vocabulary,
        templates={},
        recorder=recorder,
        wishes=Wishes(run),
        team=Team(Place(), compute.device),
        micro_batch_cap=0,
    )
    recorder.close()


@pytest.fixture
def model(vocabulary: Vocabulary) -> MaskedModel:
    return new_model(SIZES, vocabulary, 2).train()


def kept(context: RunContext, calibration: Calibration) -> ModelRecord:
    """What the run would write beside the weights."""
    return ModelRecord(
        vocabulary=context.vocabulary,
        views=context.sizes.views,
        rotations=context.sizes.rotations,
        calibration=calibration,
        normals=context.normals,
    )


def test_the_loss_is_the_mean_surprisal_of_every_event_of_every_held_out_session(
    context: RunContext, model: MaskedModel, store: Store, vocabulary: Vocabulary, compute: Compute
) -> None:
    loss, calibration = validate(context, model, context.valid_pieces())
    assert calibration is not None
    scores = score_store(model, kept(context, calibration), store, compute.device)
    of_each = store.sequence_of[context.split.valid]
    losses = []
    for view, found in scores.surprisals.items():
        values = np.concatenate([found.values[store.offsets[u] : store.offsets[u + 1]] for u in of_each])
        losses.append(float(values.mean()))
        assert calibration.highest[view] == pytest.approx(float(values.max()))
    assert len(losses) == len(context.sizes.views)
    assert loss == pytest.approx(np.mean(losses), rel=1e-6)
    assert calibration.sessions == len(of_each) == 42


def test_the_calibration_is_that_of_the_held_out_sessions_as_inference_scores_them(
    context: RunContext, model: MaskedModel, store: Store, vocabulary: Vocabulary, compute: Compute
) -> None:
    _, calibration = validate(context, model, context.valid_pieces())
    assert calibration is not None
    found = score_store(model, kept(context, calibration), store, compute.device)
    held_out = store.sequence_of[context.split.valid]
    scores = found.score[held_out]
    np.testing.assert_allclose(np.sort(scores), calibration.scores, atol=1e-3)
    assert np.median(scores) == pytest.approx(0, abs=0.2)
    # inference compares with these sessions too; the calibration must not
    lookup = vocabulary.lookup(store.events)
    trained = normals_of(store, context.split.train, lookup)
    tokens, offsets = lookup[store.tokens].astype(np.int32), np.asarray(store.offsets)
    findings, distances = Rules(trained).find(tokens, offsets), Nearest(trained).distances(tokens, offsets)
    assert findings.counts[held_out].any(), "some of them are new to the rules"
    assert (distances[held_out] > 0).any(), "and unlike every session of training"
    statistics = statistics_of(found.surprisals, distances)
    for name, values in statistics.items():
        np.testing.assert_allclose(np.sort(values[held_out]), calibration.statistics[name], atol=1e-5)
    assert len(calibration.statistics) == {1: 3, 2: 4}[len(context.sizes.views)]
    rates = Rules(context.normals).left_out()
    assert calibration.rules == {name: (rate.alarms, rate.sessions) for name, rate in rates.items()}
    of_each = {name: values[held_out] for name, values in statistics.items()}
    theirs = Findings(**{name: getattr(findings, name)[held_out] for name in RULES})
    weighed, alone = (
        evidence_of(of_each, theirs, calibration.statistics, rates, among=among).ordinary
        for among in (False, True)
    )
    # scores differ in the last digits with what they are batched with, and the tails multiply that
    np.testing.assert_allclose(np.sort(weighed), calibration.evidence, rtol=0.05)
    places = np.sort(places_left_out(np.sort(weighed), weighed, alone))
    np.testing.assert_allclose(places, calibration.left_out, atol=2)
    parts = part_of(context.split.valid, store.n_sessions)
    assert sorted(calibration.parts) == sorted(parts.tolist())


def test_with_a_centre_the_calibration_has_the_distances_as_inference_finds_them(
    context: RunContext, model: MaskedModel, store: Store, compute: Compute
) -> None:
    plan = StagePlan(index=1, name="stage_1_100pct", ratio=1.0, epochs=1)
    centres = centres_of(context, model, plan)
    assert set(centres) == set(context.sizes.views) - {"next"}
    assert centres == centres_of(context, model.train(), plan)
    _, calibration = validate(context, model, context.valid_pieces(), centres)
    assert calibration is not None
    record = msgspec.structs.replace(kept(context, calibration), centres=centres)
    found = score_store(model, record, store, compute.device)
    values = statistics_of(found.surprisals)["distance"][store.sequence_of[context.split.valid]]
    np.testing.assert_allclose(np.sort(values), calibration.statistics["distance"], atol=1e-5)
    assert values.max() > values.min() > 0


def test_what_is_kept_beside_the_model_are_all_ordinary_sessions_of_the_run(
    context: RunContext, store: Store
) -> None:
    everything, some = context.normals, context.train_normals
    assert everything.counts.sum() == store.n_sessions == 72
    assert (some.counts.sum(), context.valid_normals.counts.sum()) == (30, 42)
    assert np.array_equal(everything.tokens, context.vocabulary.lookup(store.events)[store.tokens])


def test_a_request_is_heard_while_validating(context: RunContext, model: MaskedModel, run: RunLayout) -> None:
    control.request(run, "pause")
    with pytest.raises(Interrupted, match="asked to pause"):
        validate(context, model, context.valid_pieces())


def test_validation_draws_no_random_number_and_changes_no_weight(
    context: RunContext, model: MaskedModel, tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one, _ = validate(context, model, context.valid_pieces())
    model.train()
    again, _ = validate(context, model, context.valid_pieces())
    assert one == again
    assert all((model.state_dict()[name] == tensor).all() for name, tensor in before.items())
