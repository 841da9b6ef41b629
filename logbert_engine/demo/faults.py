"""The kinds of faults, and what each does to the steps of a session that it hits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from logbert_engine.demo.flow import Step, new_step
from logbert_engine.demo.system import INSTANCES, PORTS

Steps = list[Step]


class Injected(NamedTuple):
    """A session's steps after a fault."""

    steps: Steps
    position: int
    """From 0: the first event at which the fault shows; for what is missing, the event at the gap."""
    words: str


Injector = Callable[[Steps, Random], Injected | None]
"""Returns None for a session that took a branch on which the fault has nothing to hit."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault."""

    kind: str
    workflows: tuple[str, ...]
    """Which sessions it can hit; empty: all."""
    inject: Injector
    incident: bool = False
    """It hits sessions that follow one another, instead of single ones over the whole day."""
    novel: bool = False
    """It does not occur on the training days."""


def _where(steps: Steps, keys: Iterable[str]) -> list[int]:
    wanted = set(keys)
    return [place for place, step in enumerate(steps) if step.template.key in wanted]


def _first(steps: Steps, *keys: str) -> int | None:
    places = _where(steps, keys)
    return places[0] if places else None


def _between(random: Random, low: int, high: int) -> int:
    return low + int(random.random() * (high - low + 1))


def _pick(random: Random, places: list[int]) -> int:
    return places[_between(random, 0, len(places) - 1)]


def lease_expiry_cascade(steps: Steps, random: Random) -> Injected | None:
    """Leases of live instances run out; the gateway's routes stay stale and lead nowhere."""
    route = _first(steps, "gateway.route")
    if route is None:
        return None
    service = ("research", "manager", "code")[_between(random, 0, 2)]
    tail: Steps = []
    for host in INSTANCES[service]:
        address = f"{host}:{PORTS[service]}"
        tail.append(new_step("eureka.expired", random, instance=address, n=_between(random, 91, 130)))
        tail.append(new_step("eureka.evicted", random, instance=address))
        for attempt in range(1, _between(random, 1, 2) + 1):
            tail.append(new_step("gateway.refused", random, upstream=address))
            tail.append(new_step("gateway.retry", random, upstream=address, attempt=attempt))
    tail.append(new_step("gateway.no_instance", random, target=service))
    tail.append(new_step("gateway.failed", random))
    words = f"all leases of {service} expired while its routes stayed in use"
    return Injected(steps[: route + 1] + tail, route + 1, words)


def pool_exhaustion(steps: Steps, random: Random) -> Injected | None:
    """No database connection is to be had, however often the request tries."""
    place = _first(steps, "research.connection", "manager.connection")
    if place is None:
        return None
    service = steps[place].template.service
    tail: Steps = []
    for _ in range(_between(random, 2, 5)):
        tail.append(new_step(f"{service}.pool_waiting", random, n=_between(random, 20, 60)))
        tail.append(new_step(f"{service}.pool_timeout", random))
    if steps[0].template.key == "gateway.request":  # a job has nobody to answer
        tail.append(new_step("gateway.failed", random))
    return Injected(steps[:place] + tail, place, f"the connection pool of {service} was exhausted")


def cut_short(steps: Steps, random: Random) -> Injected | None:
    """The process dies: the rest of the session was never written."""
    if len(steps) < 6:
        return None
    length = max(3, int(len(steps) * (0.3 + 0.5 * random.random())))
    return Injected(
        steps[:length], length - 1, f"the session ends after {length} of {len(steps)} events, with no answer"
    )


_TOKEN = (
    *("gateway.token_cached", "gateway.token_lookup", "manager.introspect", "manager.active"),
    "gateway.token_accepted",
)
_DATA_READ = (
    *("research.cache_hit", "research.cache_miss", "research.upload", "manager.profile"),
    *("code.index_hit", "code.index_loaded", "code.head"),
)


def authentication_bypass(steps: Steps, _random: Random) -> Injected | None:
    """Data is read first and the token checked afterwards: the same events in an order that must not be."""
    token = _where(steps, _TOKEN)
    read = _first(steps, *_DATA_READ)
    if not token or read is None or read < token[-1]:
        return None
    late = [steps[place] for place in token]
    early = [step for place, step in enumerate(steps[: read + 1]) if place not in token]
    words = f"'{steps[read].template.text}' before the token was accepted"
    return Injected(early + late + steps[read + 1 :], len(early) - 1, words)


def retry_storm(steps: Steps, random: Random) -> Injected | None:
    """The gateway retries without end and without pause, and gets through at last."""
    route = _first(steps, "gateway.route")
    if route is None:
        return None
    count = _between(random, 5, 24)
    storm = [new_step("gateway.retry", random, attempt=attempt) for attempt in range(1, count + 1)]
    return Injected(steps[: route + 1] + storm + steps[route + 1 :], route + 4, f"{count} retries in a row")


def _repeated(steps: Steps, start: str, end: str, words: str) -> Injected | None:
    first, last = _first(steps, start), _first(steps, end)
    if first is None or last is None or last < first:
        return None
    again = [
        step for step in steps[first : last + 1] if step.template.service == steps[first].template.service
    ]
    return Injected(steps[: last + 1] + again + steps[last + 1 :], last + 1, words)


def duplicate_commit(steps: Steps, _random: Random) -> Injected | None:
    """A commit that was acknowledged is made a second time."""
    return _repeated(steps, "code.committed", "code.acknowledged", "the same commit was made twice")


def double_deployment(steps: Steps, _random: Random) -> Injected | None:
    """A second deployment of the same build begins while the first is on its way."""
    return _repeated(steps, "manager.deploy", "manager.verified", "the same build was deployed twice")


def circuit_breaker(steps: Steps, random: Random) -> Injected | None:
    """A service gets slow until the gateway's breaker opens and calls are refused unasked."""
    route = _first(steps, "gateway.route")
    if route is None:
        return None
    tail = [new_step("gateway.slow_call", random) for _ in range(_between(random, 2, 5))]
    tail.append(new_step("gateway.breaker_open", random))
    tail += [new_step("gateway.breaker_denied", random) for _ in range(_between(random, 1, 3))]
    tail += [new_step("gateway.fallback", random), new_step("gateway.response", random)]
    return Injected(steps[: route + 1] + tail, route + 1, "slow calls until the breaker opened")


def out_of_memory(steps: Steps, random: Random) -> Injected | None:
    """Research runs out of heap, is ended, and starts again while the request waits in vain."""
    places = _where(steps, ("research.shard_answer", "research.chunk_indexed", "research.parsed"))
    if not places:
        return None
    place = _pick(random, places) + 1
    heap = [new_step("research.heap", random, n=n) for n in (88, 94, 98)[: _between(random, 1, 3)]]
    address = f"research-1:{PORTS['research']}"
    tail = [
        new_step("research.out_of_memory", random),
        new_step("research.killed", random),
        new_step("gateway.timeout", random),
        new_step("gateway.failed", random),
        new_step("research.starting", random),
        new_step("research.started", random),
        new_step("eureka.registered", random, instance=address),
    ]
    words = "research ran out of memory, was ended and started again"
    return Injected(steps[:place] + heap + tail, place, words)


_MUST_COME = (
    *("code.acknowledged", "eureka.replicated", "research.shard_answer", "manager.active", "code.checked"),
    *("manager.saved", "manager.verified", "manager.returned", "research.returned", "manager.token_issued"),
)


def lost_acknowledgement(steps: Steps, random: Random) -> Injected | None:
    """One line that always comes is missing in the middle; all goes on as if it had come."""
    places = _where(steps[:-1], _MUST_COME)
    if not places:
        return None
    place = _pick(random, places)
    words = f"'{steps[place].template.text}' never came"
    return Injected(steps[:place] + steps[place + 1 :], place, words)


def config_reload_mid_request(steps: Steps, random: Random) -> Injected | None:
    """The configuration changes under a running request, which is routed anew."""
    route = _first(steps, "gateway.route")
    if route is None or route + 2 >= len(steps) - 1:
        return None
    place = _between(random, route + 2, len(steps) - 2)
    reload = [
        new_step("gateway.config", random),
        new_step("gateway.routes", random, n=_between(random, 11, 19)),
        steps[route],
    ]
    words = "configuration reloaded and routed anew within a request"
    return Injected(steps[:place] + reload + steps[place:], place, words)


def early_unlock(steps: Steps, random: Random) -> Injected | None:
    """The repository's lock is released before the change is written."""
    unlock = _first(steps, "code.unlock")
    written = _where(steps, ("code.written",))
    if unlock is None or not written:
        return None
    place = _pick(random, written)
    moved = [step for at, step in enumerate(steps) if at != unlock]
    return Injected(
        [*moved[:place], steps[unlock], *moved[place:]], place, "lock released before the change was written"
    )


_THROUGH_GATEWAY = ("login", "profile", "search", "upload", "completion", "commit")

FAULTS: tuple[Fault, ...] = (
    Fault("lease_expiry_cascade", _THROUGH_GATEWAY, lease_expiry_cascade, incident=True),
    Fault("pool_exhaustion", ("login", "profile", "search", "upload", "batch_job"), pool_exhaustion, True),
    Fault("cut_short", (), cut_short),
    Fault(
        "authentication_bypass",
        ("profile", "search", "upload", "completion", "commit"),
        authentication_bypass,
    ),
    Fault("retry_storm", _THROUGH_GATEWAY, retry_storm, incident=True),
    Fault("duplicate_commit", ("commit",), duplicate_commit),
    Fault("double_deployment", ("deployment",), double_deployment),
    Fault("circuit_breaker", _THROUGH_GATEWAY, circuit_breaker, incident=True, novel=True),
    Fault("out_of_memory", ("search", "upload"), out_of_memory, incident=True, novel=True),
    Fault(
        "lost_acknowledgement",
        ("login", "search", "profile", "commit", "registration", "batch_job", "deployment"),
        lost_acknowledgement,
    ),
    Fault("config_reload_mid_request", _THROUGH_GATEWAY, config_reload_mid_request),
    Fault("early_unlock", ("commit",), early_unlock),
)
"""Every kind; which of them a day has is drawn by the simulation."""

EVERYWHERE = next(fault for fault in FAULTS if not fault.workflows)
"""The kind that can hit any session, for days too short for the others."""
