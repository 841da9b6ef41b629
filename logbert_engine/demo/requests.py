"""The requests that users send: from the gateway to one of the services and back."""

from __future__ import annotations

from logbert_engine.demo.flow import Flow


def _admitted(flow: Flow, method: str, path: str) -> bool:
    """The gateway takes the request, and checks its token; False when that ends it."""
    flow.values.update(method=method, path=path)
    flow.log("gateway.request")
    if flow.chance(0.2):
        flow.log("gateway.rate")
        if flow.chance(0.02):
            flow.log("gateway.rate_exceeded")
            flow.say("gateway.rejected", status=429)
            return False
    if flow.chance(0.78):
        flow.log("gateway.token_cached")
    else:
        flow.log("gateway.token_lookup", "manager.introspect", "manager.active")
    if flow.chance(0.012):
        flow.log("gateway.token_expired")
        flow.say("gateway.rejected", status=401)
        return False
    flow.log("gateway.token_accepted")
    return True


def _forwarded(flow: Flow, service: str) -> bool:
    """The gateway finds an instance, sometimes at the second try; False when that ends the request."""
    flow.forward_to(service)
    flow.log("gateway.route")
    if flow.chance(0.014):
        if flow.chance(0.3):
            flow.log("gateway.refused")
        for attempt in range(1, flow.between(1, 3) + 1):
            flow.say("gateway.retry", attempt=attempt)
    if flow.chance(0.004):
        flow.log("gateway.slow_call")
    if flow.chance(0.004):
        flow.log("gateway.timeout")
        if flow.chance(0.4):
            flow.log("gateway.failed")
            return False
        flow.say("gateway.retry", attempt=1)
    if flow.chance(0.0015):
        flow.log("gateway.no_instance", "gateway.fallback", "gateway.response")
        return False
    return True


def _connected(flow: Flow, service: str) -> None:
    """A service takes a database connection; under load it waits for one."""
    if flow.chance(0.01):
        flow.say(f"{service}.pool_waiting", n=flow.between(1, 4))
        if flow.chance(0.3):
            flow.log(f"{service}.pool_timeout")
    flow.log(f"{service}.connection")


def page_load(flow: Flow) -> None:
    """Gateway alone: the parts of a page."""
    flow.values.update(method="GET", path="/app")
    flow.log("gateway.request")
    if flow.chance(0.3):
        flow.log("gateway.preflight")
    for _ in range(flow.between(3, 11)):
        asset = f"app-{flow.between(1, 60)}.js"
        flow.say("gateway.asset_cached" if flow.chance(0.85) else "gateway.asset_loaded", asset=asset)
    if flow.chance(0.1):
        flow.log("gateway.rate")
    flow.log("gateway.response")


def login(flow: Flow) -> None:
    """Manager: a password, sometimes a second factor, a token."""
    flow.values.update(method="POST", path="/api/login")
    flow.log("gateway.request")
    if flow.chance(0.3):
        flow.log("gateway.rate")
    if not _forwarded(flow, "manager"):
        return
    flow.log("manager.login")
    if flow.chance(0.55):
        flow.log("manager.user_cached")
    else:
        _connected(flow, "manager")
        flow.log("manager.user_loaded", "manager.returned")
    wrong = flow.between(1, 2) if flow.chance(0.07) else 3 if flow.chance(0.006) else 0
    for _ in range(wrong):
        flow.log("manager.password_wrong")
    if wrong == 3:
        flow.log("manager.locked")
        flow.aside("manager.audit", 12)
        flow.say("gateway.rejected", status=423)
        return
    flow.log("manager.password_right")
    if flow.chance(0.25):
        flow.log("manager.second_factor", "manager.second_factor_right")
    flow.log("manager.token_issued")
    flow.aside("manager.audit", 12)
    if flow.chance(0.4):
        flow.log("manager.profile")
    flow.log("gateway.response")


def profile(flow: Flow) -> None:
    """Manager: read one's profile, save preferences."""
    if not _admitted(flow, "GET", "/api/profile") or not _forwarded(flow, "manager"):
        return
    if flow.chance(0.6):
        flow.log("manager.user_cached", "manager.profile")
    else:
        _connected(flow, "manager")
        flow.log("manager.user_loaded", "manager.profile")
        if flow.chance(0.3):
            flow.log("manager.preferences")
            flow.aside("manager.audit", 8)
        flow.log("manager.returned")
    if flow.chance(0.02):
        flow.log("manager.permission_denied")
        flow.say("gateway.rejected", status=403)
        return
    flow.log("gateway.response")


def search(flow: Flow) -> None:
    """Research: from the cache, or from several shards that answer in any order."""
    if not _admitted(flow, "GET", "/api/search") or not _forwarded(flow, "research"):
        return
    flow.log("research.search", "research.parsed")
    if flow.chance(0.08):
        flow.log("research.corrected")
    if flow.chance(0.4):
        flow.log("research.cache_hit", "research.search_done", "gateway.response")
        return
    flow.log("research.cache_miss")
    with_database = flow.chance(0.35)
    if with_database:
        _connected(flow, "research")
    for shard in range(flow.between(2, 5)):
        flow.say("research.shard_query", shard=shard)
        flow.aside("research.shard_answer", 30, shard=shard)
        if flow.chance(0.01):
            flow.aside("research.shard_slow", 60, shard=shard)
    flow.wait_for_asides()
    flow.log("research.merged", "research.ranked")
    if with_database:
        flow.log("research.returned")
    if flow.chance(0.9):
        flow.aside("research.result_cached", 7)
    flow.log("research.search_done", "gateway.response")


def upload(flow: Flow) -> None:
    """Research: a document is scanned, converted and indexed in chunks."""
    if not _admitted(flow, "POST", "/api/documents") or not _forwarded(flow, "research"):
        return
    flow.log("research.upload", "research.scanned")
    if flow.chance(0.04):
        flow.log("research.unsupported")
        flow.say("gateway.rejected", status=415)
        return
    flow.log("research.converted")
    _connected(flow, "research")
    chunks = flow.between(2, 9) if flow.chance(0.85) else flow.between(10, 28)
    for part in range(1, chunks + 1):
        flow.say("research.chunk_indexed", part=part)
        if flow.chance(0.004):
            flow.say("research.heap", n=flow.between(81, 90))
    flow.log("research.returned", "research.document_done")
    flow.aside("manager.audit", 6)
    flow.log("gateway.response")


def completion(flow: Flow, canary: bool = False) -> None:
    """Code: a language model streams tokens."""
    if not _admitted(flow, "POST", "/api/complete") or not _forwarded(flow, "code"):
        return
    flow.log("code.complete")
    flow.log("code.index_hit" if flow.chance(0.82) else "code.index_loaded")
    if flow.chance(0.35):
        flow.say("code.queued", n=flow.between(1, 9))
    if canary and flow.chance(0.006):
        flow.log("code.canary")
    flow.log("code.inference")
    if flow.chance(0.012):
        flow.log("code.model_failed")
        if flow.chance(0.15):
            flow.log("gateway.failed")
            return
        flow.values["model"] = "coder-small"
        flow.log("code.inference")
    pieces = flow.between(1, 6) if flow.chance(0.8) else flow.between(7, 18)
    for _ in range(pieces):
        flow.say("code.tokens", n=flow.between(4, 48))
    if flow.chance(0.015):
        flow.log("code.filtered")
    flow.aside("code.usage", 12)
    flow.log("code.completed", "gateway.response")


def completion_with_canary(flow: Flow) -> None:
    """The same from the day on which a new model revision is tried: something new that is no fault."""
    completion(flow, canary=True)


def commit(flow: Flow) -> None:
    """Code: a change is checked and written under a lock."""
    if not _admitted(flow, "POST", "/api/commits") or not _forwarded(flow, "code"):
        return
    if flow.chance(0.3):
        flow.log("manager.permission")
    for _ in range(flow.between(1, 2) if flow.chance(0.05) else 0):
        flow.log("code.lock_waiting")
    flow.log("code.lock", "code.head", "code.checked")
    if flow.chance(0.05):
        flow.log("code.conflict", "code.head", "code.checked")
    for _ in range(flow.between(1, 4) if flow.chance(0.8) else flow.between(5, 12)):
        flow.say("code.written", hash=f"{flow.between(0, 2**28):07x}")
    flow.log("code.committed", "code.acknowledged")
    if flow.chance(0.7):
        flow.aside("code.reindexed", 40)
    flow.log("code.unlock")
    if flow.chance(0.3):
        flow.aside("code.webhook" if flow.chance(0.97) else "code.webhook_failed", 30)
    flow.log("gateway.response")
