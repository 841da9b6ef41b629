"""Each kind of fault leaves the signature that it is described by."""

from __future__ import annotations

from collections import Counter
from functools import cache
from random import Random

import pytest

from logbert_engine.demo.faults import FAULTS, Fault, Injected, Steps
from logbert_engine.demo.flow import Flow
from logbert_engine.demo.requests import completion_with_canary
from logbert_engine.demo.simulate import Scale, simulate
from logbert_engine.demo.system import TEMPLATES
from logbert_engine.demo.workflows import BY_NAME, WORKFLOWS

RUNS = 400
BY_KIND = {fault.kind: fault for fault in FAULTS}
HITS = [
    pytest.param(fault, name, id=f"{fault.kind}-{name}")
    for fault in FAULTS
    for name in (fault.workflows or tuple(BY_NAME))
]


def keys(steps: Steps) -> tuple[str, ...]:
    return tuple(step.template.key for step in steps)


@cache
def runs(name: str) -> list[Steps]:
    """Many sessions of a workflow, without faults."""
    found = []
    for number in range(RUNS):
        flow = Flow(Random(f"{name}/{number}"))
        BY_NAME[name].run(flow)
        found.append(flow.steps())
    return found


@cache
def struck(kind: str, name: str) -> list[tuple[Steps, Injected]]:
    """The sessions of a workflow that a fault can hit, before and after."""
    random = Random(f"{kind}/{name}")
    pairs = [(steps, BY_KIND[kind].inject(steps, random)) for steps in runs(name)]
    return [(steps, injected) for steps, injected in pairs if injected is not None]


@cache
def fault_free() -> frozenset[tuple[str, ...]]:
    """Every sequence that sessions without a fault took, here and in two simulated days."""
    simulated = simulate(Scale(sessions=12_000, days=2, seed=3))
    return frozenset(keys(steps) for name in BY_NAME for steps in runs(name)) | frozenset(
        tuple(line.template.key for line in session.lines) for session in simulated if session.fault is None
    )


@pytest.mark.parametrize(("fault", "name"), HITS)
def test_a_fault_changes_a_session_into_one_that_no_faultless_session_equals(fault: Fault, name: str) -> None:
    pairs = struck(fault.kind, name)
    assert len(pairs) >= RUNS // 50
    for before, injected in pairs:
        after = keys(injected.steps)
        assert after != keys(before)
        assert after not in fault_free()
        assert 0 <= injected.position < len(after)
        assert injected.words


@pytest.mark.parametrize("kind", ["authentication_bypass", "early_unlock"])
def test_faults_of_order_keep_the_same_events(kind: str) -> None:
    for name in BY_KIND[kind].workflows:
        for before, injected in struck(kind, name):
            assert Counter(keys(injected.steps)) == Counter(keys(before))


def test_no_data_is_read_before_the_token_is_checked_unless_the_check_is_bypassed() -> None:
    reads = {"research.cache_hit", "research.cache_miss", "code.head", "manager.profile"}

    def read_early(steps: Steps) -> bool:
        names = keys(steps)
        if "gateway.token_accepted" not in names:
            return False
        checked = names.index("gateway.token_accepted")
        return any(name in reads for name in names[:checked])

    for name in ("search", "profile", "commit"):
        assert not any(read_early(steps) for steps in runs(name))
        assert all(read_early(injected.steps) for _, injected in struck("authentication_bypass", name))


def test_a_session_cut_short_is_the_beginning_of_a_normal_one() -> None:
    for name in BY_NAME:
        for before, injected in struck("cut_short", name):
            assert keys(injected.steps) == keys(before)[: len(injected.steps)]
            assert injected.position == len(injected.steps) - 1


def test_a_lost_acknowledgement_is_one_line_missing_in_the_middle() -> None:
    for name in BY_KIND["lost_acknowledgement"].workflows:
        for before, injected in struck("lost_acknowledgement", name):
            lost = keys(before)[injected.position]
            assert (
                keys(injected.steps)
                == keys(before)[: injected.position] + keys(before)[injected.position + 1 :]
            )
            assert TEMPLATES[lost].text in injected.words
            assert 0 < injected.position < len(before) - 1


def test_only_new_kinds_of_faults_bring_events_that_no_normal_session_has() -> None:
    normal = {key for name in BY_NAME for steps in runs(name) for key in keys(steps)}
    normal |= {key for sequence in fault_free() for key in sequence}
    for fault in FAULTS:
        pairs = [injected for name in fault.workflows or BY_NAME for _, injected in struck(fault.kind, name)]
        brought = {key for injected in pairs for key in keys(injected.steps)} - normal
        if fault.novel:
            assert all(set(keys(injected.steps)) & brought for injected in pairs), fault.kind
        else:
            assert not brought, fault.kind


def test_every_template_is_written_by_some_workflow_or_fault() -> None:
    seen = {key for sequence in fault_free() for key in sequence}
    seen |= {
        key
        for fault in FAULTS
        for name in fault.workflows or BY_NAME
        for _, injected in struck(fault.kind, name)
        for key in keys(injected.steps)
    }
    for number in range(4_000):
        later = Flow(Random(f"later/{number}"))
        completion_with_canary(later)
        seen |= set(keys(later.steps()))
    assert seen == set(TEMPLATES)


def test_workflows_are_no_straight_lines() -> None:
    for workflow in WORKFLOWS:
        assert len({keys(steps) for steps in runs(workflow.name)}) >= 2, workflow.name
    several_orders = Counter(
        tuple(sorted(keys(steps))) for steps in {keys(s): s for s in runs("search")}.values()
    )
    assert max(several_orders.values()) > 3, "shards answer in several orders"
