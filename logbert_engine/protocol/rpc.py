"""The JSON-RPC 2.0 envelope: requests, answers, notifications and error codes."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FRAME_LIMIT = 1 << 20
"""Bytes of one line, newline included."""


class Request(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A call. ``params`` stays raw until the method is known."""

    jsonrpc: Literal["2.0"]
    method: str
    id: int | str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")


class ErrorBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Why a call failed. ``kind`` names the class in ``protocol.errors``."""

    code: int
    message: str
    kind: str = "error"


class Response(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The answer to the call with the same ``id``: a result or an error."""

    jsonrpc: Literal["2.0"] = "2.0"
    id: int | str | None = None
    result: Any = None
    error: ErrorBody | None = None


class Notification(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something the engine says unasked."""

    method: str
    params: Any
    jsonrpc: Literal["2.0"] = "2.0"


PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = (
    -32700,
    -32600,
    -32601,
    -32602,
    -32603,
)
REFUSED = -32000
"""A ``LogbertError``: the request was understood and cannot be done; the message says why."""
