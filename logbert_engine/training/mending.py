"""What is damaged in a run directory is found before anything is trained on it: mended where there is a second
copy, set aside where there is none, so that the stage is trained again."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from logbert_engine.models.checkpoint import check_export, export, load_model
from logbert_engine.models.payload import crc_holds, is_whole
from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.protocol.events import StagePlan
from logbert_engine.rundir.atomic import storage_error, sync_folder
from logbert_engine.rundir.checksums import (
    SUMS,
    forget_digests,
    forget_missing,
    record_digest,
    recorded,
    replacing_checked,
    sha256_of,
    sums_are_whole,
)
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.rundir.reading import NotAFileError
from logbert_engine.training.origin import forget_exact_state, has_exact_state
from logbert_engine.training.plan import StageMetrics, metrics_content, metrics_in, parent_of, write_metrics
from logbert_engine.training.results import read_results


def mend(run: RunLayout, plans: Sequence[StagePlan]) -> list[str]:
    """Check what a run's stages have left on the disk, and mend or set aside what is damaged.

    Of a complete stage these are its figures, its best model and the exported folder; of the stage at work its
    best model so far. (The exact state has a predecessor, which takes its place when it is read.) The caller holds
    the run's lock, and no other process of the run reads a checkpoint yet.

    Args:
        run: the run directory.
        plans: the stages that the run is to have.

    Returns:
        A sentence for each file that was damaged: which, what was found, what was done.

    Raises:
        CheckpointError: a model that is whole cannot be loaded to export it again.
        StorageError: the disk does not let it be mended.
    """
    planned = {plan.name: plan for plan in plans}
    said: list[str] = []
    for stage in run.stages():
        mending = _Mending(run, stage, planned.get(stage.name))
        try:
            if stage.metrics.is_file():
                mending.complete()
            elif has_exact_state(stage):
                mending.unfinished()
        except OSError as error:
            raise storage_error(Path(error.filename or stage.root), error) from error
        said += mending.said
    return said


class _Mending:
    """Of one stage. A file is believed when two records of it agree."""

    def __init__(self, run: RunLayout, stage: StageLayout, plan: StagePlan | None) -> None:
        self._run, self._stage, self._plan = run, stage, plan
        self._renewed: list[str] = []
        self.said: list[str] = []

    def complete(self) -> None:
        """The figures tell the best model's sha256, and the run's results hold the figures a second time."""
        stage = self._stage
        metrics = self._figures()
        if metrics is None:
            return
        digest = _digest(stage.best)
        if digest != metrics.sha256:
            found = f"{stage.best} {_wrong(stage.best, digest, stage.metrics.name)}"
            if not self._put_back(found, {metrics.sha256}, [metrics.best_epoch]):
                self._set_aside(found, stage.metrics, stage.best)
                return
        else:
            self._check_digest(stage.best, digest)
        self._mend_sums()
        self._mend_export()

    def unfinished(self) -> None:
        """The best model so far is what the stage ends with if no later epoch is better."""
        best = self._stage.best
        known, digest = recorded(best), _digest(best)
        if not is_whole(best) and (known or best.is_file()):
            found = f"{best} {_wrong(best, digest, SUMS if known else 'the file itself')}"
            epochs = list(self._stage.checkpoints.glob("epoch_*.pt"))
            if not self._sums_hold() and crc_holds(best):
                self._renew(best, digest)
            elif not self._put_back(found, known, range(1, 1 + len(epochs))):
                self._set_aside(found, best)
        self._mend_sums()

    def _figures(self) -> StageMetrics | None:
        """The stage's figures; None where they had to be set aside."""
        stage = self._stage
        content, known = _content(stage.metrics), recorded(stage.metrics, stage.checkpoints)
        digest = hashlib.sha256(content).hexdigest()
        metrics = metrics_in(content)
        own = metrics is not None and metrics.name == stage.name
        if own and digest in known:
            self._check_digest(stage.metrics, digest)
            return metrics
        results = read_results(self._run)
        copy = next((kept for kept in results.stages if kept.name == stage.name), None) if results else None
        as_written = metrics is not None and metrics_content(metrics) == content
        if own and as_written and (not known or copy == metrics):  # then it is the digest that is lost
            self._renew(stage.metrics, digest)
            return metrics
        if metrics is None:
            found = f"{stage.metrics} is damaged: it does not hold the figures of a stage"
        elif not own:
            found = f"{stage.metrics} is that of {metrics.name}"
        else:
            found = f"{stage.metrics} is damaged: its content does not have the sha256 recorded in {SUMS}"
        if copy is not None and self._proven(copy, known):
            write_metrics(stage, copy)
            self.said.append(f"{found}; it was put back from {self._run.results.name}.")
            return copy
        whole_of_another = metrics is not None and not own
        self._set_aside(found, stage.metrics, *([stage.best] if whole_of_another else []))
        return None

    def _proven(self, copy: StageMetrics, known: set[str]) -> bool:
        if known:
            return hashlib.sha256(metrics_content(copy)).hexdigest() in known
        return _digest(self._stage.best) == copy.sha256

    def _put_back(self, found: str, digests: set[str], epochs: Iterable[int]) -> bool:
        """Copy the epoch's model that is the same file as the best one."""
        best = self._stage.best
        for path in map(self._stage.epoch, epochs):
            if _digest(path) in digests:
                with path.open("rb") as source, replacing_checked(best) as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                self.said.append(f"{found}; it was put back from {path.name}, which holds the same.")
                return True
        return False

    def _check_digest(self, path: Path, digest: str) -> None:
        """Of a file that is whole. Two are recorded where a save was cut off."""
        known = recorded(path, self._stage.checkpoints)
        if digest not in known:
            self._renew(path, digest)
        elif len(known) > 1:
            record_digest(path, digest, self._stage.checkpoints)

    def _renew(self, path: Path, digest: str) -> None:
        record_digest(path, digest, self._stage.checkpoints)
        self._renewed.append(path.name)

    def _sums_hold(self) -> bool:
        """Whether the list is this stage's, as it was written: then what does not agree with it is damaged."""
        models = list(self._stage.checkpoints.glob("*.pt"))
        return sums_are_whole(self._stage.checkpoints) and any(_digest(p) in recorded(p) for p in models)

    def _mend_sums(self) -> None:
        """A list that is damaged, or was wrong about one file, is looked at for all; models hold checksums inside."""
        folder = self._stage.checkpoints
        if not self._renewed and sums_are_whole(folder):
            return
        for path in sorted(folder.glob("*.pt")):
            if (digest := _digest(path)) and {digest} != recorded(path) and crc_holds(path):
                self._renew(path, digest)
        forget_missing(folder)
        known = f", with those of {', '.join(self._renewed)}" if self._renewed else ""
        self.said.append(
            f"{folder / SUMS} does not go with the files beside it (damaged, of another stage, or of an older "
            f"version), which are whole; it was written anew{known}."
        )

    def _mend_export(self) -> None:
        stage = self._stage
        sums = stage.exported / SUMS
        try:
            check_export(stage.exported)
            if recorded(sums, stage.checkpoints):
                return
            found = f"{stage.exported} cannot be told to be this stage's: {SUMS} beside it does not list it"
        except CheckpointError as error:
            found = str(error).removesuffix(".")
        except OSError as error:
            if not _is_lost(error):
                raise
            found = f"{error.filename or stage.exported} cannot be read ({error.strerror})"
        export(stage.exported, *load_model(stage.best))
        self.said.append(f"{found}; {stage.exported.name} was exported again from {stage.best.name}.")

    def _set_aside(self, found: str, *paths: Path) -> None:
        """Rename files, so that the stage is not complete any more; the first is the one that makes it so."""
        stage = self._stage
        names = []
        for path in paths:
            if path.is_file():
                aside = path.with_name(f"{path.name}.damaged")
                path.replace(aside)
                sync_folder(path.parent)
                names.append(aside.name)
        forget_digests(stage.checkpoints, *paths)
        forget_exact_state(stage)
        done = f"; set aside as {' and '.join(names)}" if names else ""
        self.said.append(f"{found}, and nothing can replace it{done}; {self._trained_again()}.")

    def _trained_again(self) -> str:
        if self._plan is None:
            return f"{self._stage.name} is not used any more"
        parent = parent_of(self._run, self._plan)
        start = f"the best model of {parent.name}" if parent else "its beginning"
        return f"{self._stage.name} is trained again, from {start}"


def _content(path: Path) -> bytes:
    """What a file holds; nothing where it lies on a part of the disk that cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def _digest(path: Path) -> str:
    """The sha256 of a file; empty where it is lost."""
    try:
        return sha256_of(path)
    except OSError as error:
        if not _is_lost(error):
            raise
        return ""


def _is_lost(error: OSError) -> bool:
    """Whether a file is missing, no file at all, or lies on a part of the disk that cannot be read."""
    return isinstance(error, NotAFileError) or error.errno in (errno.ENOENT, errno.EIO)


def _wrong(path: Path, digest: str, witness: str) -> str:
    if digest:
        return f"is damaged: its content does not have the checksum that {witness} tells"
    return "is damaged: it cannot be read" if path.exists() else "is missing"
