"""The commands of ``logbert-engine``, a module each: ``NAME``, ``HELP``, ``add_arguments`` and ``run``."""

from __future__ import annotations

from logbert_engine.commands.dispatch import main

__all__ = ["main"]
