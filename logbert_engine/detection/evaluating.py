"""Evaluation: a checkpoint and labelled sessions in, figures beside the floor out. Labels decide nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.normals import sequence_numbers
from logbert_engine.data.reading import session_files
from logbert_engine.data.sampling import pick, split
from logbert_engine.data.sources import open_sources
from logbert_engine.data.store import Store, open_store, unused_in_words
from logbert_engine.detection.adapting import TOO_FEW, Adapted, adapt, enough
from logbert_engine.detection.evidence import DEFAULT_BUDGET, ranking
from logbert_engine.detection.operating import operate, true_answers
from logbert_engine.detection.scoring import Report, StoreScores, Weighing, check_vocabulary, surprisals_of
from logbert_engine.evaluation.comparison import Comparison, Expected, compare
from logbert_engine.evaluation.detections import Detector, Sample, sample_of
from logbert_engine.evaluation.leaks import refuse_labelled_training, refuse_shared_sessions, session_keys
from logbert_engine.evaluation.manifest import manifest_of
from logbert_engine.models.checkpoint import Calibration, ModelRecord, open_checkpoint
from logbert_engine.models.device import choose
from logbert_engine.models.vocabulary import UNK
from logbert_engine.presets.runfile import read_config
from logbert_engine.presets.types import Device
from logbert_engine.protocol.errors import CheckpointError, DataError, EvaluationError
from logbert_engine.rundir.layout import run_above

FLOORS = (
    ("unseen",),
    ("unseen", "counts"),
    ("unseen", "pairs"),
    ("unseen", "length"),
    ("counts",),
    ("length",),
)
"""Rules, and unions of them, that a model has to beat."""


@dataclass(frozen=True)
class Evaluation:
    """Figures, and what they were made from."""

    comparison: Comparison
    sample: Sample
    detectors: list[Detector]


def evaluate(
    checkpoint: Path,
    inputs: list[Path],
    *,
    budget: float = DEFAULT_BUDGET,
    normal_weight: float = 1.0,
    device: Device = "auto",
    seed: int = 0,
    operator: int = 0,
    adapting: bool = False,
    report: Report | None = None,
) -> Evaluation:
    """Score labelled sessions and compare what alarms with the labels, and with what simple rules alarm on.

    Args:
        checkpoint: run directory, stage directory, model file or exported folder.
        inputs: session files or directories of them, with labels.
        budget: share of ordinary sessions that may alarm; the calibration gives the threshold, no label does.
        normal_weight: sessions of the natural stream that a normal one stands for, where the input holds more
            anomalies than the stream.
        device: where to score.
        seed: of the bootstrap.
        operator: answers of a simulated operator, who is shown the top of the list; 0: none.
        adapting: whether to adapt to the sessions, without a look at their labels (``detection.adapting``); the
            figures of the model as it was stand beside.
        report: called with (phase, done, all).

    Raises:
        EvaluationError: no labels, or the model was trained or calibrated on sessions of the input.
        LogbertError: checkpoint or input do not allow it; the message says which and why.
    """
    say = report or (lambda _phase, _done, _all: None)
    files = list(dict.fromkeys(file.resolve() for path in inputs for file in session_files(path)))
    model, record, found = open_checkpoint(checkpoint)
    if record.calibration is None:
        raise CheckpointError(f"{found} has no calibration; use a best_model.pt or epoch file of a run.")
    store = open_store(files, progress=lambda done, total: say("reading", done, total), max_rejected=1.0)
    if not store.n_sessions:
        raise DataError(f"no usable session in {', '.join(map(str, inputs))}.")
    labelled = np.flatnonzero(np.asarray(store.label) >= 0)
    unused = unused_in_words(store)
    if not len(labelled):
        raise EvaluationError(
            f"no session of {', '.join(map(str, inputs))} has a label (0 normal, 1 anomaly), and without labels "
            "nothing can be evaluated; use infer." + (f" {unused}." if unused else "")
        )
    checked = _refuse_leaks(found, store, labelled)
    check_vocabulary(record, store, allow_unknown=True)
    compute = choose(device, "fp32")
    surprisals = surprisals_of(
        model, record, store, compute.device, lambda done, total: say("scoring", done, total)
    )
    weighing: Weighing | Adapted = Weighing(record, store, surprisals, budget)
    scores = weighing.scores()
    of = np.asarray(store.sequence_of)[labelled]
    sample = sample_of(
        np.asarray(store.label)[labelled],
        of.astype(np.int64),
        unseen=scores.findings.fires("unseen")[of],
        time=np.asarray(store.time)[labelled],
        normal_weight=normal_weight,
    )
    detectors = _detectors(scores, record.calibration, of)
    copies = int((_copies(record, store)[of] & (np.asarray(store.label)[labelled] == 1)).sum())
    adapted = adapting and enough(store.n_sessions)
    if adapted:
        weighing = adapt(model, record, store, compute, budget, say)
        store = weighing.store
        of = np.asarray(store.sequence_of)[labelled]
        detectors.insert(0, _as_a_whole("adapted", weighing.scores(), of))
    if operator:
        anomalous, sessions = true_answers(np.asarray(store.label)[labelled], of, store.n_unique)
        events = store
        detectors[1:1] = operate(
            weighing.scores,
            lambda u: [events.events[i] for i in events.sequence(u)],
            anomalous,
            sessions,
            of,
            operator,
        )
    comparison = compare(
        sample,
        detectors,
        data=", ".join(map(str, inputs)),
        copies=copies,
        expected=Expected(
            share=weighing.share,
            low=weighing.span[0],
            high=weighing.span[1],
            held_out=weighing.held_out,
            adapted=adapted,
        ),
        excluded={
            "without a label": store.n_sessions - len(labelled),
            "could not be used": store.rejected,
        },
        unused=unused,
        not_adapted=TOO_FEW if adapting and not adapted else "",
        seed=seed,
        manifest=manifest_of(
            files, found, split=checked, seed=seed, budget=budget, adapting=adapting, operator=operator
        ),
        report=lambda done, total: say("comparing", done, total),
    )
    return Evaluation(comparison=comparison, sample=sample, detectors=detectors)


def _detectors(scores: StoreScores, calibration: Calibration, of: NDArray[np.int32]) -> list[Detector]:
    """The model with all its evidence, each component of it alone, and the floor."""
    found = [_as_a_whole("all evidence", scores, of)]
    for name in calibration.statistics:
        p = scores.evidence.p[name]
        found.append(Detector(name=name, kind="model", score=-np.log10(p)[of], alarm=(p <= scores.rate)[of]))
    for rules in FLOORS:
        fires = [scores.findings.fires(rule) for rule in rules]
        strength = np.sum(fires, axis=0).astype(np.float64)
        found.append(
            Detector(
                name=" or ".join(rules), kind="floor", score=strength[of], alarm=np.any(fires, axis=0)[of]
            )
        )
    return found


def _copies(record: ModelRecord, store: Store) -> NDArray[np.bool_]:
    """[U] Whether each sequence is that of an ordinary session of training."""
    assert record.normals is not None
    tokens = record.vocabulary.lookup(store.events)[store.tokens].astype(np.int32)
    known = sequence_numbers(record.normals.tokens, record.normals.offsets)
    unknown = np.add.reduceat((tokens == UNK).astype(np.int64), store.offsets[:-1]) > 0
    return np.isin(sequence_numbers(tokens, np.asarray(store.offsets)), known) & ~unknown


def _as_a_whole(name: str, scores: StoreScores, of: NDArray[np.int32]) -> Detector:
    return Detector(
        name=name,
        kind="model",
        score=ranking(scores.evidence, scores.alarms)[of],
        alarm=scores.alarms[of],
    )


def _refuse_leaks(checkpoint: Path, store: Store, labelled: NDArray[np.int64]) -> str:
    """Refuse sessions that the model has met; returns what could be checked, in words.

    Raises:
        EvaluationError: there are some, or it was trained on sessions that are labelled anomalous.
    """
    run = run_above(checkpoint)
    if run is None:
        return "not checked: the checkpoint lies in no run directory"
    config = read_config(run)
    try:
        trained, _ = open_sources(run, config.data, max_rejected=1.0)
    except DataError as error:
        return f"not checked: {error}"
    pool = pick(trained.n_sessions, config.data.sample_ratio, config.seed)
    used = split(pool, config.data, config.seed)
    met = np.concatenate((used.train, used.valid))
    refuse_labelled_training(np.asarray(trained.label)[met])
    refuse_shared_sessions(_keys(store, labelled), _keys(trained, met))
    return f"{len(met):,} sessions of training and calibration, none of them evaluated"


def _keys(store: Store, sessions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each session, of its id, time, service and events: ids alone may begin anew in each file."""
    events = [str(event).encode() for event in store.events]
    content: dict[int, bytes] = {}
    for sequence in np.unique(np.asarray(store.sequence_of)[sessions]).tolist():
        content[sequence] = b" ".join(events[i] for i in store.sequence(sequence))
    names = [
        f"{store.session_id(i)}\n{store.timestamp(i)}\n{store.services[store.service_of[i]]}".encode()
        for i in sessions.tolist()
    ]
    return session_keys(names, [content[int(store.sequence_of[i])] for i in sessions.tolist()])
