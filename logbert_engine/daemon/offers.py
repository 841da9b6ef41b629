"""What a run directory offers to infer with, and what was inferred before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from logbert_engine.protocol.messages import CheckpointInfo, InferenceOptions, ResultsFile
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.reading import opened

_PEEK = 4096
_MOST_LOOKED_AT = 500


def options_of(run: RunLayout, losses: Mapping[str, float | None]) -> InferenceOptions:
    """Checkpoints (the latest stage first), results files (the latest first) and the data of a run.

    Args:
        run: the run directory.
        losses: validation loss of the best model, by the stage's name.

    Raises:
        LogbertError: ``run.yaml`` does not hold.
    """
    from logbert_engine.presets.runfile import read_config

    checkpoints = [
        CheckpointInfo(
            path=str(stage.best),
            label=f"{stage.name}, best model",
            stage=stage.index,
            valid_loss=losses.get(stage.name),
            written_at=stage.best.stat().st_mtime,
        )
        for stage in reversed(run.stages())
        if stage.best.is_file()
    ]
    found = [(path, path.stat()) for path in _candidates(run) if holds_results(path)]
    results = [ResultsFile(path=str(p), written_at=s.st_mtime, size=s.st_size) for p, s in found]
    results.sort(key=lambda file: file.written_at, reverse=True)
    return InferenceOptions(
        checkpoints=checkpoints, results=results, data=str(_to_score(Path(read_config(run).data.path)))
    )


def _to_score(trained_on: Path) -> Path:
    """A folder ``eval`` beside the training data, where there is one, else those data themselves."""
    beside = trained_on.parent / "eval"
    return beside if beside.is_dir() else trained_on


def _candidates(run: RunLayout) -> list[Path]:
    """JSON files of the run directory and of its folders that are not stages."""
    stages = {stage.name for stage in run.stages()}
    folders = [run.root, *(p for p in run.root.iterdir() if p.is_dir() and p.name not in stages)]
    paths = [path for folder in folders for path in folder.glob("*.json")]
    return [path for path in paths[:_MOST_LOOKED_AT] if path != run.results and path.is_file()]


def holds_results(path: Path) -> bool:
    """Whether a file begins as a list of results does. Reading it whole is left to the one who opens it."""
    with opened(path) as file:
        head = file.read(_PEEK)
    return head.lstrip().startswith(b"[") and b'"anomaly_score"' in head
