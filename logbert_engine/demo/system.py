"""The simulated system: its services, their instances and threads, and every log template they can write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

INSTANCES: dict[str, tuple[str, ...]] = {
    "gateway": ("gateway-1", "gateway-2"),
    "eureka": ("eureka-1", "eureka-2", "eureka-3"),
    "research": ("research-1", "research-2", "research-3"),
    "manager": ("manager-1", "manager-2"),
    "code": ("code-1", "code-2", "code-3"),
}
"""Service to its host names."""

SERVICES: tuple[str, ...] = tuple(INSTANCES)

PORTS: dict[str, int] = {"gateway": 8080, "eureka": 8761, "research": 8081, "manager": 8082, "code": 8083}

THREADS: dict[str, tuple[str, int]] = {
    "gateway": ("reactor-http-epoll-", 8),
    "eureka": ("http-nio-8761-exec-", 10),
    "research": ("http-nio-8081-exec-", 40),
    "manager": ("http-nio-8082-exec-", 24),
    "code": ("http-nio-8083-exec-", 32),
}
"""Service to the prefix and the number of its threads."""

_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of log line."""

    event_id: int
    key: str
    """``service.name``, as workflows and faults speak of it."""
    service: str
    level: str
    logger: str
    gap_ms: float
    """Usual time since the line before."""
    text: str
    """As in ``vocabulary.csv``: ``<*>`` stands for a value."""
    pattern: str
    """The same for the ``%`` operator."""
    fields: tuple[str, ...]
    """Names of the values, in their order."""

    def render(self, values: Mapping[str, object]) -> str:
        """The message with its values filled in."""
        return self.pattern % tuple([values[name] for name in self.fields])


_LINES: dict[str, tuple[tuple[str, str, str, float, str], ...]] = {
    "gateway": (
        ("request", "INFO", "AccessLogFilter", 1, "Request {method} {path} from {ip}"),
        ("rate", "INFO", "RateLimiter", 1, "Client {ip} used {n} of 600 requests this minute"),
        ("rate_exceeded", "WARN", "RateLimiter", 1, "Client {ip} exceeded its rate limit"),
        ("preflight", "INFO", "CorsFilter", 1, "Preflight for {path} allowed from {origin}"),
        ("asset_cached", "INFO", "AssetFilter", 1, "Asset {asset} served from cache"),
        ("asset_loaded", "INFO", "AssetFilter", 9, "Asset {asset} loaded, {n} bytes"),
        ("token_cached", "INFO", "TokenFilter", 1, "Token of user {user} found in cache"),
        ("token_lookup", "INFO", "TokenFilter", 2, "Token not in cache, asking manager"),
        ("token_accepted", "INFO", "TokenFilter", 1, "Token accepted for user {user}, scope {scope}"),
        ("token_expired", "WARN", "TokenFilter", 1, "Token of user {user} expired {n} s ago"),
        ("route", "INFO", "RoutePredicate", 2, "Route {target} matched, forwarding to {upstream}"),
        ("retry", "WARN", "RetryFilter", 250, "Upstream {upstream} unavailable, retry {attempt}"),
        ("refused", "WARN", "HttpClient", 40, "Connection to {upstream} refused"),
        ("timeout", "ERROR", "HttpClient", 5000, "No answer from {upstream} within {ms} ms"),
        ("no_instance", "ERROR", "LoadBalancer", 5, "No instance available for service {target}"),
        ("slow_call", "WARN", "CircuitBreaker", 2200, "Breaker {target} recorded a slow call of {ms} ms"),
        ("breaker_open", "ERROR", "CircuitBreaker", 2, "Breaker {target} went from CLOSED to OPEN"),
        ("breaker_denied", "WARN", "CircuitBreaker", 30, "Breaker {target} is OPEN, call not permitted"),
        ("fallback", "WARN", "FallbackHandler", 4, "Fallback answer served for {path}"),
        ("config", "INFO", "ConfigWatcher", 20, "Configuration refreshed, changed key {config_key}"),
        ("routes", "INFO", "RouteLocator", 15, "Routes refreshed, {n} routes known"),
        ("response", "INFO", "AccessLogFilter", 2, "Response 200 for {method} {path} in {total} ms"),
        ("rejected", "WARN", "AccessLogFilter", 2, "Rejected {method} {path} with status {status}"),
        ("failed", "ERROR", "AccessLogFilter", 2, "Failed {method} {path} after {total} ms"),
    ),
    "eureka": (
        ("round", "INFO", "HeartbeatResource", 2, "Heartbeat round started by {client}"),
        ("renewed", "INFO", "InstanceRegistry", 12, "Renewed lease of {instance}"),
        ("renew_unknown", "WARN", "InstanceRegistry", 6, "Lease of {instance} unknown, told to register"),
        ("delta", "INFO", "RegistryResource", 8, "Served delta of {few} changes to {client}"),
        ("full_fetch", "INFO", "RegistryResource", 14, "Served full registry to {client}"),
        ("round_done", "INFO", "HeartbeatResource", 5, "Heartbeat round finished in {total} ms"),
        ("registered", "INFO", "InstanceRegistry", 8, "Registered instance {instance} as UP"),
        ("cancelled", "INFO", "InstanceRegistry", 6, "Cancelled lease of {instance}"),
        ("out_of_service", "INFO", "InstanceRegistry", 6, "Instance {instance} set OUT_OF_SERVICE"),
        ("replicate", "INFO", "PeerReplicator", 3, "Replicating {instance} to peer {peer}"),
        ("replicated", "INFO", "PeerReplicator", 9, "Peer {peer} acknowledged {instance}"),
        ("invalidated", "INFO", "ResponseCache", 2, "Invalidated cached answers for {app}"),
        ("check", "INFO", "EvictionTask", 4, "Lease check started over {few} leases"),
        ("expired", "WARN", "EvictionTask", 5, "Lease of {instance} expired, last renewal {n} s ago"),
        ("evicted", "WARN", "EvictionTask", 4, "Evicted {instance} from the registry"),
        ("check_done", "INFO", "EvictionTask", 5, "Lease check finished"),
        ("preservation", "WARN", "InstanceRegistry", 4, "Self preservation on, renewals at {n} percent"),
    ),
    "research": (
        ("starting", "INFO", "ResearchApplication", 900, "Starting ResearchApplication on {host}"),
        ("started", "INFO", "ResearchApplication", 6200, "Started ResearchApplication in {ms} ms"),
        ("search", "INFO", "SearchController", 3, "Search for {query}, page {page}"),
        ("parsed", "INFO", "QueryParser", 2, "Query parsed into {few} terms"),
        ("corrected", "INFO", "QueryParser", 3, "Spelling corrected to {query}"),
        ("cache_hit", "INFO", "ResultCache", 1, "Result cache hit for key {hash}"),
        ("cache_miss", "INFO", "ResultCache", 1, "Result cache miss for key {hash}"),
        ("connection", "INFO", "HikariPool-research", 2, "Connection {n} taken from pool of research"),
        ("pool_waiting", "WARN", "HikariPool-research", 400, "{n} threads wait for the pool of research"),
        (
            "pool_timeout",
            "ERROR",
            "HikariPool-research",
            3000,
            "No connection of research within {ms} ms",
        ),
        ("returned", "INFO", "HikariPool-research", 1, "Connection returned to pool of research"),
        ("shard_query", "INFO", "ShardClient", 1, "Asking shard {shard}"),
        ("shard_answer", "INFO", "ShardClient", 18, "Shard {shard} answered with {n} hits"),
        ("shard_slow", "WARN", "ShardClient", 600, "Shard {shard} is slow, {ms} ms so far"),
        ("merged", "INFO", "ResultMerger", 4, "Merged answers into {n} hits"),
        ("ranked", "INFO", "Ranker", 22, "Ranked {n} hits with profile {rank_profile}"),
        ("result_cached", "INFO", "ResultCache", 2, "Result stored under key {hash}"),
        ("search_done", "INFO", "SearchController", 3, "Search finished with {n} results"),
        ("upload", "INFO", "UploadController", 5, "Document {document} received, {n} bytes"),
        ("scanned", "INFO", "VirusScanner", 140, "Document {document} scanned, clean"),
        ("unsupported", "ERROR", "Converter", 8, "Document {document} has an unsupported type"),
        ("converted", "INFO", "Converter", 260, "Document {document} converted to text"),
        ("chunk_indexed", "INFO", "Indexer", 35, "Indexed chunk {part} of {document}"),
        ("document_done", "INFO", "UploadController", 5, "Document {document} is searchable"),
        ("rebuild", "INFO", "CacheAdmin", 6, "Cache rebuild started by {user}"),
        ("segment", "INFO", "CacheAdmin", 900, "Cache segment {part} rebuilt"),
        ("rebuild_done", "INFO", "CacheAdmin", 30, "Cache rebuild finished"),
        ("heap", "WARN", "MemoryMonitor", 60, "Heap of research at {n} percent after collection"),
        ("out_of_memory", "ERROR", "ThreadDump", 1800, "OutOfMemoryError: Java heap space on {host}"),
        ("killed", "ERROR", "ProcessGuard", 700, "Process on {host} ended by the memory guard"),
    ),
    "manager": (
        ("login", "INFO", "LoginController", 3, "Login attempt of user {user}"),
        ("user_cached", "INFO", "UserService", 1, "User {user} found in cache"),
        ("user_loaded", "INFO", "UserService", 9, "User {user} loaded from database"),
        ("connection", "INFO", "HikariPool-manager", 2, "Connection {n} taken from pool of manager"),
        ("pool_waiting", "WARN", "HikariPool-manager", 400, "{n} threads wait for the pool of manager"),
        ("pool_timeout", "ERROR", "HikariPool-manager", 3000, "No connection of manager within {ms} ms"),
        ("returned", "INFO", "HikariPool-manager", 1, "Connection returned to pool of manager"),
        ("password_right", "INFO", "PasswordCheck", 85, "Password of user {user} verified"),
        ("password_wrong", "WARN", "PasswordCheck", 85, "Wrong password for user {user}"),
        ("locked", "WARN", "PasswordCheck", 3, "Account of user {user} locked for {few} hours"),
        ("second_factor", "INFO", "SecondFactor", 40, "Second factor sent to user {user}"),
        ("second_factor_right", "INFO", "SecondFactor", 9000, "Second factor of user {user} accepted"),
        ("token_issued", "INFO", "TokenService", 4, "Token issued for user {user}"),
        ("audit", "INFO", "AuditLog", 6, "Audit record {n} written"),
        ("introspect", "INFO", "TokenService", 3, "Introspection of token {hash}"),
        ("active", "INFO", "TokenService", 4, "Token {hash} is active"),
        ("profile", "INFO", "ProfileController", 5, "Profile of user {user} read"),
        ("preferences", "INFO", "ProfileController", 4, "Preferences of user {user} saved"),
        ("permission", "INFO", "AccessPolicy", 3, "Permission {permission} granted to user {user}"),
        ("permission_denied", "WARN", "AccessPolicy", 3, "Permission {permission} denied to user {user}"),
        ("role", "INFO", "RoleController", 8, "Role of user {other} set to {role}"),
        ("sessions_closed", "INFO", "TokenService", 6, "Closed {few} sessions of user {other}"),
        ("export", "INFO", "AuditExport", 25, "Audit export requested by user {user}"),
        ("export_page", "INFO", "AuditExport", 320, "Audit page {part} exported"),
        ("export_done", "INFO", "AuditExport", 20, "Audit export finished"),
        ("deploy", "INFO", "DeployController", 4, "Deployment of {app} build {build} requested"),
        ("plan", "INFO", "DeployPlanner", 30, "Plan for {app} has {few} steps"),
        ("artifact", "INFO", "ArtifactStore", 1900, "Artifact {build} fetched, {n} bytes"),
        ("checksum", "ERROR", "ArtifactStore", 40, "Checksum of artifact {build} differs, fetching again"),
        ("verified", "INFO", "ArtifactStore", 60, "Artifact {build} verified"),
        ("start_instance", "INFO", "Launcher", 300, "Starting {instance} with build {build}"),
        ("health_wait", "INFO", "HealthProbe", 2000, "Health of {instance} is STARTING"),
        ("health_up", "INFO", "HealthProbe", 1500, "Health of {instance} is UP"),
        ("switched", "INFO", "TrafficSwitch", 400, "Traffic switched to build {build}"),
        ("drained", "INFO", "TrafficSwitch", 2500, "Drained {instance}"),
        ("rolled_back", "WARN", "DeployController", 700, "Deployment of {app} rolled back"),
        ("deployed", "INFO", "DeployController", 30, "Deployment of {app} finished"),
        ("job", "INFO", "JobRunner", 5, "Job {job} started"),
        ("page", "INFO", "JobRunner", 240, "Job {job} read page {part}"),
        ("skipped", "WARN", "JobRunner", 5, "Job {job} skipped record {n}"),
        ("flushed", "INFO", "JobRunner", 180, "Job {job} wrote {n} records"),
        ("saved", "INFO", "JobRunner", 20, "Job {job} saved its position"),
        ("job_done", "INFO", "JobRunner", 10, "Job {job} finished"),
    ),
    "code": (
        ("complete", "INFO", "CompletionController", 3, "Completion in {language} requested"),
        ("index_hit", "INFO", "RepositoryIndex", 2, "Index of {repository} in memory"),
        ("index_loaded", "INFO", "RepositoryIndex", 120, "Index of {repository} loaded"),
        ("queued", "INFO", "ModelQueue", 3, "Queued for {model} behind {n} requests"),
        ("inference", "INFO", "ModelRunner", 30, "Inference started on {model}"),
        ("canary", "INFO", "ModelRunner", 2, "Canary revision {build} of {model} chosen"),
        ("model_failed", "ERROR", "ModelRunner", 700, "Model {model} failed, trying the small model"),
        ("tokens", "INFO", "TokenStream", 90, "Streamed {n} tokens"),
        ("filtered", "WARN", "OutputPolicy", 4, "Completion filtered by rule {rule}"),
        ("completed", "INFO", "CompletionController", 4, "Completion finished after {total} ms"),
        ("usage", "INFO", "UsageMeter", 7, "Usage of {n} tokens recorded"),
        ("lock", "INFO", "LockService", 4, "Lock on {repository} taken"),
        ("lock_waiting", "WARN", "LockService", 350, "Waiting for the lock on {repository}"),
        ("head", "INFO", "ObjectStore", 5, "Head of {branch} read"),
        ("checked", "INFO", "CommitCheck", 45, "Change of {few} files checked"),
        ("conflict", "WARN", "CommitCheck", 12, "Conflict in {few} files, rebased on {branch}"),
        ("written", "INFO", "ObjectStore", 10, "Object {hash} written"),
        ("committed", "INFO", "CommitService", 8, "Commit {hash} created on {branch}"),
        ("acknowledged", "INFO", "CommitService", 14, "Commit {hash} acknowledged by the store"),
        ("reindexed", "INFO", "RepositoryIndex", 60, "Index of {repository} brought up to date"),
        ("unlock", "INFO", "LockService", 3, "Lock on {repository} released"),
        ("webhook", "INFO", "WebhookSender", 25, "Webhook {rule} delivered"),
        ("webhook_failed", "WARN", "WebhookSender", 800, "Webhook {rule} not delivered, kept for later"),
    ),
}
"""A service's lines: name, level, logger, usual gap in ms, text with the names of its values."""


def _templates() -> dict[str, Template]:
    known: dict[str, Template] = {}
    for service, lines in _LINES.items():
        for name, level, logger, gap_ms, text in lines:
            key = f"{service}.{name}"
            known[key] = Template(
                event_id=len(known) + 1,
                key=key,
                service=service,
                level=level,
                logger=f"c.e.{service}.{logger}",
                gap_ms=gap_ms,
                text=_FIELD.sub("<*>", text),
                pattern=_FIELD.sub("%s", text),
                fields=tuple(_FIELD.findall(text)),
            )
    return known


TEMPLATES: dict[str, Template] = _templates()
"""Key to template, in the order of their event ids (from 1)."""
