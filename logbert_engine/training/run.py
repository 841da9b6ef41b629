"""A whole run: read the data, train stage after stage, free memory in between, write the results."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np

from logbert_engine.data.batches import pieces_of, steps_per_epoch, visits_of
from logbert_engine.data.sampling import Split, pick, split, stage_sample
from logbert_engine.data.sources import open_sources, record_sources
from logbert_engine.data.store import Store
from logbert_engine.data.templates import find_templates
from logbert_engine.models.checkpoint import load_model, read_record
from logbert_engine.models.device import Compute, free_memory, resident_mb
from logbert_engine.models.encoder import MaskedModel, new_model, parameter_count
from logbert_engine.models.pretrained import load_pretrained, longest_pretrained
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.batching import batch_for, rounds_of, within_tokens
from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import Data, Encoder, RunConfig
from logbert_engine.protocol.errors import DataError, PresetError
from logbert_engine.protocol.events import (
    DataReady,
    ModelReady,
    Progress,
    StageEnded,
    StagePlan,
    StageStarted,
)
from logbert_engine.rundir.atomic import write_file
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training.context import RunContext
from logbert_engine.training.expecting import Expecting, expect
from logbert_engine.training.mending import mend
from logbert_engine.training.origin import forget_exact_state
from logbert_engine.training.plan import complete, parent_of, read_metrics, stage_ended
from logbert_engine.training.recorder import Voice
from logbert_engine.training.results import write_results
from logbert_engine.training.stage import Parent, StageTrainer
from logbert_engine.training.team import Team
from logbert_engine.training.wishes import Wishes

_PROGRESS_SECONDS = 0.25


def run_stages(
    run: RunLayout,
    config: RunConfig,
    compute: Compute,
    recorder: Voice,
    wishes: Wishes,
    team: Team,
    micro_batch_cap: int,
) -> None:
    """Train every stage that is not complete yet. Runs alike on every rank.

    Raises:
        Interrupted: a pause or stop was asked for; what is trained is saved.
        LogbertError: data, checkpoint or disk do not allow to go on; the message says which and why.
        PeerLostError: another rank is gone.
    """
    if not isinstance(config.model, Encoder):
        raise PresetError(f"preset {config.preset} is a decoder, which this version does not train.")
    if config.model.pretrained and team.place.leads:
        with wishes.heart.kept():  # what cannot be had is said before the data are read
            longest_pretrained(config.model.pretrained)
    if team.place.leads:
        with wishes.heart.kept():
            for found in mend(run, plan_stages(config.stages)):
                recorder.log("warning", found)
    team.wait()
    context, plans = prepare_data(
        run, config, config.model, compute, recorder, wishes, team=team, micro_batch_cap=micro_batch_cap
    )
    expecting = None
    if context.leads:
        _journal_complete(context, plans)
        expecting = expect(context, [plan for plan in plans if not complete(run.stage(plan.name))])
    team.wait()
    before = 0
    for plan in plans:
        stage = run.stage(plan.name)
        if not complete(stage):
            _train(context, plan, before, expecting)
            free_memory(compute)
            recorder.log("info", f"memory freed after {plan.name}: {resident_mb():,.0f} MB in use")
            if context.leads:
                write_results(run, config, plans)
        before += plan.steps
    if context.leads:
        write_results(run, config, plans)
    team.wait()


def _journal_complete(context: RunContext, plans: list[StagePlan]) -> None:
    """Journal the stages that an earlier worker completed and was killed before it could say so."""
    said: set[int] = set()
    for event in read_journal(context.run.journal):
        if isinstance(event, StageStarted):
            said.discard(event.stage)
        elif isinstance(event, StageEnded):
            said.add(event.stage)
    for plan in plans:
        stage = context.run.stage(plan.name)
        if complete(stage) and plan.index not in said:
            forget_exact_state(stage)
            context.recorder.record(stage_ended(read_metrics(stage)))


def prepare_data(
    run: RunLayout,
    config: RunConfig,
    sizes: Encoder,
    compute: Compute,
    recorder: Voice,
    wishes: Wishes,
    *,
    team: Team,
    micro_batch_cap: int = 0,
) -> tuple[RunContext, list[StagePlan]]:
    """Open or compile the store, divide it, and size the stages. Rank 0 compiles, the others wait for it."""
    data = config.data
    if not team.place.leads:
        team.wait()
    store, remarks = open_sources(run, data, progress=_Reporter(recorder, wishes, "reading session files"))
    if team.place.leads:
        for remark in remarks:
            recorder.log(*remark)
        record_sources(run, data, store)
        _report_rejected(run, store, recorder)
        team.wait()
    if store.n_sessions < 2:
        raise DataError(
            f"{data.path} has {store.n_sessions} usable session; training needs two, one to hold out."
        )
    used = split(pick(store.n_sessions, data.sample_ratio, config.seed), data, config.seed)
    vocabulary = _vocabulary(run, config, sizes, store, used)
    room = sizes.max_length
    if sizes.pretrained:
        room = min(room, longest_pretrained(sizes.pretrained))
    context = RunContext(
        run=run,
        config=config,
        sizes=sizes,
        room=room,
        compute=compute,
        store=store,
        split=used,
        vocabulary=vocabulary,
        templates=find_templates(Path(data.path), data.templates),
        recorder=recorder,
        wishes=wishes,
        team=team,
        micro_batch_cap=micro_batch_cap,
    )
    plans = [_sized(context, plan) for plan in plan_stages(config.stages)]
    recorder.record(
        DataReady(
            files=len(store.files),
            sessions=store.n_sessions,
            unique=store.n_unique,
            events=len(vocabulary.events),
            train=len(used.train),
            valid=len(used.valid),
            rejected=store.rejected,
            first_day=store.first_day,
            last_day=store.last_day,
            stages=plans,
        )
    )
    recorder.log(
        "info",
        f"{len(store.files)} files, {store.n_sessions:,} sessions ({store.n_unique:,} distinct), "
        f"{len(vocabulary.events)} events; {_share(data.sample_ratio)}"
        f"training on {len(used.train):,}, {_held_out(data)} {len(used.valid):,} held out",
    )
    return context, plans


def _held_out(data: Data) -> str:
    return "the latest" if data.hold_out == "latest" else "blocks over time of"


def _share(sample_ratio: float) -> str:
    return "" if sample_ratio == 1 else f"of {sample_ratio:.0%} of them (sample_ratio) "


def _train(context: RunContext, plan: StagePlan, steps_before: int, expecting: Expecting | None) -> None:
    parent = parent_of(context.run, plan)
    pretrained = context.sizes.pretrained

    def load() -> MaskedModel:
        if parent is not None:
            model = load_model(parent.best)[0]
        elif pretrained:
            with context.wishes.heart.kept():
                model = load_pretrained(
                    pretrained, context.vocabulary, context.templates, context.config.seed
                )
        else:
            model = new_model(context.sizes, context.vocabulary, context.config.seed)
        context.recorder.record(
            ModelReady(parameters=parameter_count(model), architecture=model.config.model_type, source=source)
        )
        return model

    source, digest, loss = pretrained or "new", pretrained or "new", None
    if parent is not None:
        figures = read_metrics(parent)
        source, digest = str(parent.best.relative_to(context.run.root)), figures.sha256
        loss = figures.best_valid_loss
    came_from = Parent(name=source, digest=digest, valid_loss=loss, load=load)
    StageTrainer(context, plan, steps_before, came_from, expecting).train()


def _sized(context: RunContext, plan: StagePlan) -> StagePlan:
    """The plan with the sizes that the data gives it."""
    sessions = stage_sample(context.split.train, plan.ratio, context.config.seed)
    pieces = pieces_of(context.store, sessions, context.room)
    training = context.config.training
    visits = visits_of(pieces, training.duplicate_weight)
    tokens = float(np.average(pieces.tokens, weights=visits))
    batch = within_tokens(training, batch_for(training, plan.ratio), tokens)
    of_pass = steps_per_epoch(pieces, batch, training.duplicate_weight)
    epochs, passes = rounds_of(training, plan.epochs, of_pass)
    steps = epochs * steps_per_epoch(pieces, batch, training.duplicate_weight, passes)
    stage = context.run.stage(plan.name)
    if complete(stage):
        steps = read_metrics(stage).steps
    unique = len(np.unique(pieces.sequence))
    return msgspec.structs.replace(
        plan,
        sessions=len(sessions),
        unique=unique,
        steps=steps,
        batch=batch,
        epochs=epochs,
        passes=passes,
        tokens=round(tokens, 2),
        longest=int(pieces.tokens.max()),
    )


def _vocabulary(run: RunLayout, config: RunConfig, sizes: Encoder, store: Store, used: Split) -> Vocabulary:
    """The first complete stage's vocabulary, else the events of all sessions of the run.

    Also of those that are held out: to people, and to the rules, their events are as ordinary as the others. Without
    rows of their own all of them would be one unknown event, and the share of ordinary sessions with such an event
    would depend on which sessions happen to be held out.
    """
    done = [run.stage(plan.name) for plan in plan_stages(config.stages) if complete(run.stage(plan.name))]
    if done:
        return read_record(done[-1].best).vocabulary
    seen = np.zeros(len(store.events), dtype=np.bool_)
    for sequence in np.unique(store.sequence_of[np.concatenate((used.train, used.valid))]):
        seen[store.sequence(int(sequence))] = True
    return Vocabulary(events=[store.events[i] for i in np.flatnonzero(seen)], reserved=sizes.reserved_events)


def _report_rejected(run: RunLayout, store: Store, recorder: Voice) -> None:
    if store.rejected:
        content = store.rejected_path.read_bytes()
        write_file(run.rejected, content)
        recorder.log(
            "warning", f"{store.rejected:,} records could not be used; {run.rejected.name} says which and why"
        )


class _Reporter:
    """Passes progress on to the journal, a few times a second, and lets a request interrupt."""

    def __init__(self, recorder: Voice, wishes: Wishes, phase: str) -> None:
        self._recorder, self._wishes, self._phase = recorder, wishes, phase
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        self._wishes.check()
        now = time.monotonic()
        if now >= self._next or done == total:
            self._next = now + _PROGRESS_SECONDS
            self._recorder.record(Progress(phase=self._phase, done=done, total=total, unit="bytes"))
