"""The kinds of sessions, how often each occurs, and at which hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from logbert_engine.demo import operations, requests
from logbert_engine.demo.flow import Flow

OFFICE = (
    *(0.08, 0.05, 0.04, 0.04, 0.05, 0.10, 0.25, 0.55, 1.20, 1.90, 2.20, 2.00),
    *(1.30, 1.70, 2.10, 2.15, 1.90, 1.50, 1.00, 0.75, 0.60, 0.45, 0.28, 0.15),
)
"""Load by hour of the day where people cause it: two peaks, a lunch, a quiet night."""

STEADY = (1.0,) * 24
"""Load by hour where machines cause it."""

NIGHT = (*(1.0, 3.0, 6.0, 6.0, 4.0, 2.0), *(0.2,) * 16, *(0.6, 0.8))
"""Load by hour of batch jobs."""


@dataclass(frozen=True)
class Workflow:
    """A kind of session."""

    name: str
    service: str
    """Whose work it is: the session's ``service_name``."""
    weight: float
    """Its share of an hour in which its load is 1, against the other workflows."""
    load: tuple[float, ...]
    run: Callable[[Flow], None]
    run_later: Callable[[Flow], None] | None = None
    """How it runs on the evaluation days, where a release has changed it."""


WORKFLOWS: tuple[Workflow, ...] = (
    Workflow("page_load", "gateway", 10.0, OFFICE, requests.page_load),
    Workflow("login", "manager", 8.0, OFFICE, requests.login),
    Workflow("profile", "manager", 7.0, OFFICE, requests.profile),
    Workflow("search", "research", 22.0, OFFICE, requests.search),
    Workflow("upload", "research", 5.0, OFFICE, requests.upload),
    Workflow("completion", "code", 21.0, OFFICE, requests.completion, requests.completion_with_canary),
    Workflow("commit", "code", 9.0, OFFICE, requests.commit),
    Workflow("heartbeats", "eureka", 10.0, STEADY, operations.heartbeats),
    Workflow("lease_check", "eureka", 4.0, STEADY, operations.lease_check),
    Workflow("registration", "eureka", 1.2, STEADY, operations.registration),
    Workflow("batch_job", "manager", 1.5, NIGHT, operations.batch_job),
    Workflow("deployment", "manager", 1.0, OFFICE, operations.deployment),
    Workflow("role_change", "manager", 0.30, OFFICE, operations.role_change),
    Workflow("audit_export", "manager", 0.15, OFFICE, operations.audit_export),
    Workflow("cache_rebuild", "research", 0.20, STEADY, operations.cache_rebuild),
    Workflow("config_reload", "gateway", 0.15, OFFICE, operations.config_reload),
)

BY_NAME: dict[str, Workflow] = {workflow.name: workflow for workflow in WORKFLOWS}
