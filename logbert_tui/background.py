"""Work beside the event loop's turn: what a widget starts and does not wait for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from textual.dom import DOMNode
from textual.worker import Worker


def in_background(
    node: DOMNode,
    work: Callable[..., Coroutine[Any, Any, object]],
    *arguments: object,
    group: str = "default",
    exclusive: bool = False,
) -> None:
    """Start work that belongs to a widget and ends with it.

    The coroutine is made when the work begins: one that is replaced before that would never be awaited.

    Args:
        node: the widget, screen or app.
        work: an ``async`` method.
        arguments: of the method.
        group: of work that belongs together.
        exclusive: whether what runs in the group is ended.
    """
    _: Worker[object] = node.run_worker(partial(work, *arguments), group=group, exclusive=exclusive)
