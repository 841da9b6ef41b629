"""Estimates for a request, and the measurement that replaces what was computed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec

from logbert_engine.estimates.advice import advice
from logbert_engine.estimates.estimate import as_built, estimate
from logbert_engine.estimates.learned import Measured, learned_on, model_key
from logbert_engine.estimates.machine import Machine, place_of
from logbert_engine.estimates.pace import computed_seconds
from logbert_engine.estimates.setting import Setting
from logbert_engine.estimates.trying import Trial, TrialError, TrialSpec
from logbert_engine.estimates.work import work_of
from logbert_engine.hardware.probe import probe
from logbert_engine.hardware.torch_answer import key_of, remembered
from logbert_engine.hardware.torch_ask import ask_torch
from logbert_engine.presets.loading import list_presets
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.errors import DeviceError, LogbertError, PresetError
from logbert_engine.protocol.estimates import Estimate, EstimateQuery, Estimates, Verdict
from logbert_engine.protocol.messages import DataSummary, Hardware, RunSpec

_NOWHERE = "."
"""Stands for the data of a request that names none yet."""


def this_machine(hardware: Hardware | None = None) -> Machine:
    """What is known of this machine.

    Args:
        hardware: as it was probed; probed now when not given.
    """
    hardware = hardware or probe(Path.home())
    answer = remembered(key_of(hardware))
    learned = learned_on(hardware)
    if answer is None:
        return Machine(hardware, learned)
    works = [device for device in answer.devices if not device.problem]
    matmul: dict[tuple[str, str], float] = {}
    for device in works:
        for precision, rate in device.flops.items():
            matmul.setdefault((device.kind, precision), rate)
    return Machine(hardware, learned, matmul, Counter(device.kind for device in works))


def asked_machine() -> Machine:
    """The same, with what torch says, which takes some seconds the first time."""
    hardware, problem = probe(Path.home()), ""
    if remembered(key_of(hardware)) is None:
        try:
            ask_torch(hardware)
        except DeviceError as error:
            problem = str(error)
    return replace(this_machine(hardware), problem=problem)


def estimates_of(query: EstimateQuery, machine: Machine) -> Estimates:
    """An estimate for each preset that is asked about, with the settings of the request.

    A setting that a preset cannot have (a decoder's, a pre-trained model) is the problem of that preset alone.
    """
    names = query.presets or [query.spec.preset]
    found: list[Estimate] = []
    problems: dict[str, str] = {}
    for name in names:
        try:
            config = config_of(msgspec.structs.replace(query.spec, preset=name))
            found.append(estimate(config, machine, query.data))
        except PresetError as error:
            problems[name] = str(error)
    return Estimates(estimates=found, problems=problems, advice=advice(found))


def config_of(spec: RunSpec) -> RunConfig:
    """The configuration of a request, which may not name its data yet.

    Raises:
        PresetError: it does not hold.
    """
    return resolve(
        msgspec.structs.replace(spec, data=spec.data or _NOWHERE, run_dir=spec.run_dir or _NOWHERE)
    )


def with_settings(spec: RunSpec, verdict: Verdict) -> RunSpec:
    """The request with what the verdict says makes it fit."""
    return msgspec.structs.replace(spec, overrides=[*spec.overrides, *verdict.settings])


def all_presets() -> list[str]:
    """Names of the shipped presets, in the picker's order."""
    return [preset.name for preset in list_presets()]


class Measurement:
    """A trial of a request on this machine, and what is learnt from it.

    It takes the micro-batch, and the checkpointing, with which the request fits the machine.
    """

    def __init__(self, spec: RunSpec, data: DataSummary | None, machine: Machine) -> None:
        """Prepare it; nothing is started.

        Raises:
            LogbertError: the request does not hold, or does not fit this machine.
        """
        self._machine, self._data = machine, data
        wanted = config_of(spec)
        guess = estimate(wanted, machine, data)
        if guess.verdict.fit in ("no device", "too large"):
            raise LogbertError(f"{wanted.preset} cannot be measured here: it {guess.verdict.words}.")
        self._config = as_built(config_of(with_settings(spec, guess.verdict)))[0]
        self._work = work_of(self._config, data)
        self._guess = guess
        self._lock = threading.Lock()
        self._trial: Trial | None = None
        self._cancelled = False

    def run(self, progress: Callable[[int, int], None]) -> Machine:
        """Take the steps and keep what they took.

        Args:
            progress: called with (steps done, steps at most).

        Returns:
            The machine, with that.

        Raises:
            TrialError: it did not come to its end.
        """
        config, work, guess = self._config, self._work, self._guess
        accumulates = guess.batch > guess.micro_batch * guess.devices
        spec = TrialSpec(
            model=config.model,
            training=config.training,
            device=config.device,
            events=work.events,
            micro_batch=guess.micro_batch,
            length=work.tokens,
            longest=work.longest,
            accumulates=accumulates,
        )
        with self._lock:
            if self._cancelled:
                raise TrialError("cancelled.")
            trial = self._trial = Trial(spec)
        try:
            result = trial.result(progress)
        except TrialError:
            if self._cancelled:
                raise TrialError("cancelled.") from None
            raise
        finally:
            trial.close()
        place = place_of(config, self._machine)
        assert not isinstance(place, str)
        shape = shape_of(config.model, work.events)
        expected, rate = 0.0, 0.0
        if place.speed is not None:
            setting = Setting(work, shape, place, self._machine)
            expected = sum(computed_seconds(setting, guess.micro_batch, work.tokens, place.speed))
            rate = place.speed.matmul
        learned = self._machine.learned.with_(
            Measured(
                model=model_key(shape),
                device=place.kind,
                precision=place.precision,
                micro_batch=guess.micro_batch,
                tokens=work.tokens,
                micro_s=result.micro_s,
                update_s=result.update_s,
                expected_s=expected,
                rate=rate,
                rows=shape.rows,
                spread=result.spread,
                longest=work.longest,
                peak_mb=result.peak_mb,
                empty_mb=result.empty_mb,
                accumulates=accumulates,
                at=datetime.now().isoformat(timespec="seconds"),
            )
        )
        return replace(self._machine, learned=learned)

    def cancel(self) -> None:
        """End it. May be called from another thread, at any time."""
        with self._lock:
            self._cancelled = True
            if self._trial is not None:
                self._trial.kill()
