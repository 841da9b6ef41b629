"""The table of handlers: one for each call but ``hello``, which opens a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from logbert_engine.daemon import estimating, following, inference, logs, machine, results, steering, triage

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection
    from logbert_engine.daemon.engine import Engine

Handler = Callable[["Engine", "Connection", Any], Awaitable[msgspec.Struct]]

HANDLERS: dict[str, Handler] = {
    "hardware": machine.hardware,
    "list_presets": machine.list_presets,
    "inspect_data": machine.inspect_data,
    "plan_run": machine.plan_run,
    "list_runs": following.list_runs,
    "open_run": following.open_run,
    "subscribe": following.subscribe,
    "unsubscribe": following.unsubscribe,
    "estimate": estimating.estimate,
    "measure": estimating.measure,
    "cancel_measure": estimating.cancel_measure,
    "start_run": steering.start_run,
    "pause": steering.pause,
    "resume": steering.resume,
    "restart_stage": steering.restart_stage,
    "stop": steering.stop,
    "list_logs": logs.list_logs,
    "read_log": logs.read_log,
    "inference_options": results.inference_options,
    "start_inference": inference.start_inference,
    "cancel_inference": inference.cancel_inference,
    "read_results": results.read_results,
    "read_result": results.read_result,
    "give_verdict": triage.give_verdict,
    "undo_verdict": triage.undo_verdict,
    "shutdown": machine.shutdown,
}
