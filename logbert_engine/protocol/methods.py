"""The table of calls: name, type of parameters, type of result. Engine and client both read it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from logbert_engine.protocol import estimates as e
from logbert_engine.protocol import messages as m
from logbert_engine.protocol import results


class Nothing(msgspec.Struct):
    """A call without parameters."""


class RunList(msgspec.Struct):
    """Answer to ``list_runs``, latest first."""

    runs: list[m.RunInfo]


class PresetList(msgspec.Struct):
    """Answer to ``list_presets``."""

    presets: list[m.PresetInfo]


class DataPath(msgspec.Struct):
    """Parameters of ``inspect_data``."""

    path: str


class Shutdown(msgspec.Struct, omit_defaults=True):
    """Parameters of ``shutdown``."""

    force: bool = False
    """Leave although something is being scored, which is lost then."""


class Plan(msgspec.Struct):
    """Answer to ``plan_run``: what ``start_run`` would do, in words that can be copied."""

    command: str
    run_yaml: str


class Method(NamedTuple):
    """One call."""

    params: type[msgspec.Struct]
    result: type[msgspec.Struct]


METHODS: dict[str, Method] = {
    "hello": Method(m.Hello, m.Welcome),
    "hardware": Method(Nothing, m.Hardware),
    "list_presets": Method(Nothing, PresetList),
    "inspect_data": Method(DataPath, m.DataSummary),
    "list_runs": Method(Nothing, RunList),
    "plan_run": Method(m.RunSpec, Plan),
    "estimate": Method(e.EstimateQuery, e.Estimates),
    "measure": Method(e.MeasureQuery, e.MeasureRef),
    "cancel_measure": Method(e.MeasureRef, m.Done),
    "start_run": Method(m.RunSpec, m.RunInfo),
    "open_run": Method(m.RunRef, m.RunInfo),
    "subscribe": Method(m.Subscribe, m.Subscribed),
    "unsubscribe": Method(m.RunRef, m.Done),
    "pause": Method(m.RunRef, m.Done),
    "resume": Method(m.RunRef, m.Done),
    "restart_stage": Method(m.RunRef, m.Done),
    "stop": Method(m.RunRef, m.Done),
    "list_logs": Method(m.RunRef, m.LogFiles),
    "read_log": Method(m.ReadLog, m.LogChunk),
    "inference_options": Method(m.RunRef, m.InferenceOptions),
    "start_inference": Method(m.InferSpec, m.InferenceRef),
    "cancel_inference": Method(m.InferenceRef, m.Done),
    "read_results": Method(results.ReadResults, results.ResultsPage),
    "read_result": Method(results.ReadResult, results.ResultDetail),
    "give_verdict": Method(results.GiveVerdict, m.Done),
    "undo_verdict": Method(results.UndoVerdict, m.Done),
    "shutdown": Method(Shutdown, m.Done),
}

NOTIFICATIONS: dict[str, type[msgspec.Struct]] = {
    "events": m.Events,
    "gap": m.Gap,
    "resources": m.Resources,
    "inference": m.InferenceProgress,
    "measuring": e.Measuring,
}
