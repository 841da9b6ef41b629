"""What the system does for itself, and what its administrators do: heartbeats, jobs, deployments, repairs."""

from __future__ import annotations

from logbert_engine.demo.flow import Flow
from logbert_engine.demo.system import INSTANCES, PORTS


def _address(flow: Flow, service: str) -> str:
    hosts = INSTANCES[service]
    return f"{hosts[flow.between(0, len(hosts) - 1)]}:{PORTS[service]}"


def _replicate(flow: Flow, instance: str) -> None:
    """Tell the peers, who acknowledge in any order."""
    for peer in INSTANCES["eureka"][1:]:
        flow.say("eureka.replicate", instance=instance, peer=peer)
        flow.aside("eureka.replicated", 16, instance=instance, peer=peer)
    flow.wait_for_asides()


def heartbeats(flow: Flow) -> None:
    """Eureka: the instances of a service renew their leases."""
    service = ("gateway", "research", "manager", "code")[flow.between(0, 3)]
    flow.values["client"] = service
    flow.log("eureka.round")
    for _ in range(flow.between(4, 14)):
        instance = _address(flow, service)
        flow.say("eureka.renewed", instance=instance)
        if flow.chance(0.003):
            flow.say("eureka.renew_unknown", instance=instance)
            flow.say("eureka.registered", instance=instance)
    flow.log("eureka.delta" if flow.chance(0.93) else "eureka.full_fetch")
    if flow.chance(0.02):
        flow.say("gateway.routes", n=flow.between(11, 19))
    flow.log("eureka.round_done")


def lease_check(flow: Flow) -> None:
    """Eureka: look for leases that ran out; scaled-down instances are evicted, which is in order."""
    flow.log("eureka.check")
    if flow.chance(0.01):
        flow.say("eureka.preservation", n=flow.between(70, 84))
    for _ in range(flow.between(1, 2) if flow.chance(0.12) else 0):
        service = ("research", "code")[flow.between(0, 1)]
        instance = _address(flow, service)
        flow.say("eureka.expired", instance=instance, n=flow.between(91, 130))
        flow.say("eureka.evicted", instance=instance)
        _replicate(flow, instance)
        flow.say("eureka.invalidated", app=service)
    for _ in range(flow.between(3, 7)):
        flow.say("eureka.delta", client=("gateway", "manager", "code", "research")[flow.between(0, 3)])
    flow.log("eureka.check_done")


def _register(flow: Flow, service: str, instance: str) -> None:
    flow.say("eureka.registered", instance=instance)
    _replicate(flow, instance)
    flow.say("eureka.invalidated", app=service)


def registration(flow: Flow) -> None:
    """Eureka: an instance that was scaled up makes itself known."""
    service = ("research", "code", "manager")[flow.between(0, 2)]
    instance = _address(flow, service)
    flow.values.update(client=service, host=instance.partition(":")[0])
    if service == "research":
        flow.log("research.starting", "research.started")
    flow.log("eureka.full_fetch")
    _register(flow, service, instance)
    for _ in range(flow.between(1, 4)):
        flow.say("eureka.renewed", instance=instance)
    if flow.chance(0.5):
        flow.say("gateway.routes", n=flow.between(11, 19))
    flow.log("eureka.delta")


def deployment(flow: Flow) -> None:
    """Manager: instances of a new build take over from the old ones; sometimes rolled back."""
    service = ("research", "code")[flow.between(0, 1)]
    flow.values.update(method="POST", path="/api/deployments", app=service, target="manager")
    flow.forward_to("manager")
    flow.log("gateway.request", "gateway.token_cached", "gateway.token_accepted", "gateway.route")
    flow.log("manager.permission", "manager.deploy", "manager.plan", "manager.artifact")
    if flow.chance(0.06):
        flow.log("manager.checksum", "manager.artifact")
    flow.log("manager.verified")
    back = flow.chance(0.05)
    for _ in range(flow.between(1, 3)):
        instance = _address(flow, service)
        flow.say("manager.start_instance", instance=instance)
        for _ in range(flow.between(1, 4)):
            flow.say("manager.health_wait", instance=instance)
        if back:
            break
        flow.say("manager.health_up", instance=instance)
        _register(flow, service, instance)
    if back:
        flow.log("manager.rolled_back")
    else:
        flow.say("gateway.routes", n=flow.between(11, 19))
        flow.log("manager.switched")
        for _ in range(flow.between(1, 2)):
            instance = _address(flow, service)
            flow.say("eureka.out_of_service", instance=instance)
            flow.say("manager.drained", instance=instance)
            flow.say("eureka.cancelled", instance=instance)
            _replicate(flow, instance)
        flow.log("manager.deployed")
    flow.aside("manager.audit", 10)
    flow.log("gateway.response")


def batch_job(flow: Flow) -> None:
    """Manager: a job reads pages, writes records and saves its position."""
    flow.values["job"] = ("billing", "usage-rollup", "retention")[flow.between(0, 2)]
    flow.log("manager.job")
    part = 0
    for _ in range(flow.between(1, 6)):
        flow.log("manager.connection")
        for _ in range(flow.between(2, 4)):
            part += 1
            flow.say("manager.page", part=part)
            if flow.chance(0.03):
                flow.log("manager.skipped")
        flow.log("manager.flushed", "manager.returned", "manager.saved")
    flow.log("manager.job_done")


def _as_administrator(flow: Flow, method: str, path: str, service: str) -> None:
    flow.values.update(method=method, path=path, user=f"admin{flow.between(1, 4)}", scope="admin")
    flow.forward_to(service)
    flow.log("gateway.request", "gateway.token_lookup", "manager.introspect", "manager.active")
    flow.log("gateway.token_accepted", "gateway.route", "manager.permission")


def role_change(flow: Flow) -> None:
    """Manager, rare: another user gets another role."""
    _as_administrator(flow, "PUT", "/admin/roles", "manager")
    flow.log("manager.connection", "manager.user_loaded", "manager.role")
    if flow.chance(0.6):
        flow.log("manager.sessions_closed")
    flow.log("manager.returned", "manager.audit", "gateway.response")


def audit_export(flow: Flow) -> None:
    """Manager, rare: the audit log leaves the system page by page."""
    _as_administrator(flow, "GET", "/admin/audit", "manager")
    flow.log("manager.export", "manager.connection")
    for part in range(1, flow.between(3, 20) + 1):
        flow.say("manager.export_page", part=part)
    flow.log("manager.returned", "manager.export_done", "manager.audit", "gateway.response")


def cache_rebuild(flow: Flow) -> None:
    """Research, rare: all cache segments are built anew, which fills the heap."""
    _as_administrator(flow, "POST", "/admin/cache", "research")
    flow.log("research.rebuild")
    for part in range(1, flow.between(6, 24) + 1):
        flow.say("research.segment", part=part)
        if flow.chance(0.08):
            flow.say("research.heap", n=flow.between(81, 90))
    flow.log("research.rebuild_done", "manager.audit", "gateway.response")


def config_reload(flow: Flow) -> None:
    """Gateway, rare: an administrator changes a setting, and the routes are read again."""
    _as_administrator(flow, "POST", "/admin/config", "gateway")
    for _ in range(flow.between(1, 3)):
        flow.log("gateway.config")
    flow.say("gateway.routes", n=flow.between(11, 19))
    flow.log("eureka.full_fetch", "manager.audit", "gateway.response")
