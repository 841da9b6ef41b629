"""Calls that score sessions: ``logbert-engine infer`` as a child, its progress passed on."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from logbert_engine.daemon.offers import holds_results
from logbert_engine.daemon.paths import absolute, resolved
from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.framing import BadFrame, FrameTooLong, decode_frame, read_frame
from logbert_engine.protocol.messages import Done, InferenceProgress, InferenceRef, InferSpec
from logbert_engine.protocol.rpc import FRAME_LIMIT
from logbert_engine.rundir.layout import run_above

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection
    from logbert_engine.daemon.engine import Engine

MOST_RUNNING = 4
"""Inferences at a time: each loads a model and wants the whole machine."""
PROGRAM = (sys.executable, "-P", "-m", "logbert_engine", "infer")
_TERMINATE_S = 5.0
_KEPT_ERRORS = 64 * 1024
_logger = logging.getLogger(__name__)

Tell = Callable[[InferenceProgress], None]


class _Line(msgspec.Struct):
    """What the command prints, a JSON object a line."""

    phase: str = ""
    done: int = 0
    total: int = 0
    state: Literal["running", "finished"] = "running"
    message: str = ""


_lines = msgspec.json.Decoder(_Line)


@dataclass
class _Inference:
    process: Process
    tell: Tell
    last: InferenceProgress
    output: Path
    """Links resolved."""
    cancelled: bool = False
    task: asyncio.Task[None] | None = None


class Inferences:
    """The inferences that run in this engine."""

    def __init__(self, program: Sequence[str] = PROGRAM) -> None:
        self._program = program
        self._last_id = 0
        self._running: dict[int, _Inference] = {}
        self._outputs: set[Path] = set()
        """What is being written, or is about to be."""

    def of(self, run_dir: str) -> list[InferenceProgress]:
        """How far those are that score with a checkpoint of a run, the latest last."""
        return [one.last for one in self._running.values() if one.last.run_dir == run_dir]

    def outputs(self) -> list[str]:
        """What is being written, or is about to be."""
        return sorted(map(str, self._outputs))

    async def start(self, tell: Tell, spec: InferSpec) -> InferenceRef:
        """Start an inference.

        Args:
            tell: called with its progress, up to its end.
            spec: what to score.

        Raises:
            EngineError: a relative path; an output that is being written already, or that would take the place
                of something else than results; too many at a time; the command cannot be started.
        """
        command = [*self._program, *_options(spec)]
        output = await asyncio.to_thread(_output, spec)
        if output in self._outputs:
            raise EngineError(f"an inference that writes {spec.output} is running already.")
        if len(self._outputs) >= MOST_RUNNING:
            raise EngineError(
                f"{MOST_RUNNING} inferences are running already; cancel one, or wait for its end."
            )
        self._outputs.add(output)
        try:
            run = await asyncio.to_thread(lambda: run_above(resolved(spec.checkpoint, "the checkpoint")))
            run_dir = str(run.root) if run is not None else ""
            begin = InferenceProgress(
                id=0, phase="starting", done=0, total=0, output=spec.output, run_dir=run_dir
            )
            return await self._start(tell, command, begin, output)
        except BaseException:
            self._outputs.discard(output)
            raise

    async def _start(
        self, tell: Tell, command: list[str], begin: InferenceProgress, output: Path
    ) -> InferenceRef:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, limit=FRAME_LIMIT, start_new_session=True
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise EngineError(f"the inference cannot be started: {reason}.") from error
        self._last_id += 1
        begin.id = self._last_id
        inference = self._running[begin.id] = _Inference(process, tell, begin, output)
        inference.task = asyncio.create_task(self._attend(inference), name=f"inference {begin.id}")
        tell(begin)
        return InferenceRef(id=begin.id, output=begin.output)

    def cancel(self, number: int) -> None:
        """End an inference; its results are not written.

        Raises:
            EngineError: no such inference is running.
        """
        inference = self._running.get(number)
        if inference is None:
            raise EngineError(f"no inference {number} is running; it may have ended already.")
        inference.cancelled = True
        _terminate(inference.process)

    async def close(self) -> None:
        """End all inferences."""
        tasks = [inference.task for inference in self._running.values() if inference.task is not None]
        for inference in self._running.values():
            _logger.warning("the inference that writes %s ends with the engine", inference.last.output)
            inference.cancelled = True
            _terminate(inference.process)
        if tasks:
            _, slow = await asyncio.wait(tasks, timeout=_TERMINATE_S)
            for inference in list(self._running.values()):
                inference.process.kill()
            if slow:
                await asyncio.wait(slow)

    async def _attend(self, inference: _Inference) -> None:
        process = inference.process
        assert process.stdout is not None
        assert process.stderr is not None
        errors = asyncio.create_task(_tail(process.stderr))
        try:
            await self._pass_on(inference, process.stdout)
            said, status = await errors, await process.wait()
            if inference.cancelled:
                self._tell(inference, "failed", "cancelled")
            elif status == 0:
                self._tell(inference, "finished", inference.last.message)
            else:
                self._tell(inference, "failed", _why(said, status))
        finally:
            del self._running[inference.last.id]
            self._outputs.discard(inference.output)

    async def _pass_on(self, inference: _Inference, stdout: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await read_frame(stdout)
                if line is None:
                    return
                said = decode_frame(line, _lines)
            except BadFrame as error:  # a library that prints
                _logger.debug("inference %d printed something else: %s", inference.last.id, error)
                continue
            except FrameTooLong:
                inference.process.kill()
                return
            inference.last = msgspec.structs.replace(
                inference.last,
                phase=said.phase or inference.last.phase,
                done=said.done if said.phase else inference.last.done,
                total=said.total if said.phase else inference.last.total,
                message=said.message,
            )
            if said.state == "running":
                inference.tell(inference.last)

    def _tell(self, inference: _Inference, state: Literal["finished", "failed"], message: str) -> None:
        inference.last = msgspec.structs.replace(inference.last, state=state, message=message)
        inference.tell(inference.last)


async def start_inference(engine: Engine, client: Connection, params: InferSpec) -> InferenceRef:
    """``start_inference``: who asked is told how far it is, and who follows the run, now or later."""

    def tell(progress: InferenceProgress) -> None:
        for each in engine.connections:
            if each is client or progress.run_dir in each.followed:
                each.notify("inference", progress, key=f"inference {progress.id}")

    return await engine.inferences.start(tell, params)


async def cancel_inference(engine: Engine, _client: Connection, params: InferenceRef) -> Done:
    """``cancel_inference``."""
    engine.inferences.cancel(params.id)
    return Done(message="the inference is being ended; no results are written")


def _options(spec: InferSpec) -> list[str]:
    if not spec.inputs:
        raise EngineError("give session files or directories to infer from.")
    checkpoint = absolute(spec.checkpoint, "the checkpoint")
    inputs = [str(absolute(path, "the input")) for path in spec.inputs]
    output = absolute(spec.output, "the output")
    words = ["--progress", "json", "--device", spec.device]
    words += [f"--checkpoint={checkpoint}", f"--output={output}"]
    if spec.alert_budget is not None:
        percent = (
            Decimal(repr(spec.alert_budget)) * 100
        )  # a large share without a sign is refused as ambiguous
        words.append(f"--alert-budget={percent}%")
    elif spec.threshold is not None:
        words.append(f"--threshold={spec.threshold!r}")  # one word, as a negative one looks like a flag
    if spec.adapt:
        words.append("--adapt")
    return [*words, "--input", *inputs]


def _output(spec: InferSpec) -> Path:
    """Where the results go. They may take the place of other results, and of nothing else.

    Raises:
        EngineError: a checkpoint, a journal or whatever else lies there.
    """
    path = resolved(spec.output, "the output")
    if path.exists() and not (path.is_file() and (path.stat().st_size == 0 or holds_results(path))):
        raise EngineError(f"{spec.output} is there and holds no results; choose another file for the output.")
    return path


def _terminate(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()


async def _tail(stream: asyncio.StreamReader) -> str:
    kept = b""
    while block := await stream.read(_KEPT_ERRORS):
        kept = (kept + block)[-_KEPT_ERRORS:]
    return kept.decode(errors="replace")


def _why(said: str, status: int) -> str:
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
    if last:
        return last.removeprefix("logbert-engine: ")
    return f"the inference ended with exit status {status}" if status > 0 else f"killed by signal {-status}"
