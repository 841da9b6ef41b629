"""From a request to a run directory that a worker can take: everything that can be wrong is found here."""

from __future__ import annotations

from pathlib import Path

import msgspec

from logbert_engine.data.reading import session_files
from logbert_engine.hardware.processor import check_count
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import read_config, write_config
from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import Encoder, RunConfig
from logbert_engine.protocol.errors import PresetError, RunError
from logbert_engine.protocol.locations import resolved_path
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held
from logbert_engine.training.plan import complete


def prepare(spec: RunSpec) -> RunLayout:
    """Check a request and write ``run.yaml``.

    In a directory that holds a run already, the same request goes on with that run, and one that differs only
    in how far the stages go (``--max-ratio``, a later ``--start-ratio``) extends it. Epochs, device, processes,
    memory limit and training settings may change too, and hold for the stages that are not complete: a lower
    learning rate after a loss that rose trains the stage at work again. Complete stages are kept.

    Raises:
        PresetError: unknown preset, or a value that does not hold.
        DeviceError: more processes than this machine has use for.
        DataError: no session files there.
        LogbertError: the directory is of nobody's home, or a circle of links.
        RunError: it is held, or holds another run.
        StorageError: the directory cannot be written.
    """
    config = resolve(spec)
    if not isinstance(config.model, Encoder):
        raise PresetError(
            f"preset {config.preset} is a decoder, which this version lists but does not train; "
            "choose an encoder preset such as test, transfer or full."
        )
    plan_stages(config.stages)
    if config.workers.nproc != "auto":
        check_count(config.workers.nproc)
    session_files(Path(config.data.path), config.data.max_files)
    if config.evaluate is not None:
        session_files(Path(config.evaluate))
    if not spec.run_dir:
        raise RunError("--run-dir is empty; name a directory.")
    if not spec.run_dir.isprintable() and any("\udc80" <= c <= "\udcff" for c in spec.run_dir):
        raise RunError(f"--run-dir {spec.run_dir!a} is not UTF-8; choose another name.")
    run = RunLayout(resolved_path(spec.run_dir, "--run-dir"))
    if run.root.exists() and not run.root.is_dir():
        raise RunError(f"the run directory {run.root} is a file; choose another --run-dir.")
    with held(run):  # so that of two requests at once the second finds the first one's run.yaml
        if run.config.exists():
            config = _continued(run, read_config(run), config, spec)
        elif run.stages():
            raise RunError(
                f"{run.root} has stage folders but no run.yaml, so it cannot be continued; "
                "choose another --run-dir."
            )
        write_config(run, config)
    return run


def _continued(run: RunLayout, before: RunConfig, wanted: RunConfig, spec: RunSpec) -> RunConfig:
    """The configuration that goes on with a run.

    Raises:
        RunError: it is another run, or a stage below ``--start-ratio`` is not complete.
    """
    stages = msgspec.structs.replace(
        before.stages, max_ratio=wanted.stages.max_ratio, epochs=wanted.stages.epochs
    )
    changed = [
        name for name in ("preset", "model", "data", "seed") if getattr(before, name) != getattr(wanted, name)
    ]
    if before.stages.progressive != wanted.stages.progressive or (
        before.stages.step_size != wanted.stages.step_size
    ):
        changed.append("stages")
    start = wanted.stages.start_ratio
    if start < before.stages.start_ratio - 1e-9:
        changed.append("start ratio")
    if changed:
        raise RunError(
            f"{run.root} holds another run (it differs in {', '.join(changed)}); choose another --run-dir, "
            f"or go on with that run: logbert-engine resume {run.root}"
        )
    missing = [p for p in plan_stages(stages) if p.ratio < start - 1e-9 and not complete(run.stage(p.name))]
    if missing and spec.start_ratio is not None:
        raise RunError(
            f"{missing[0].name} in {run.root} is not complete, so training cannot begin at {start:g}; "
            f"start at {missing[0].ratio:g}, or choose another --run-dir."
        )
    return msgspec.structs.replace(wanted, stages=stages)
