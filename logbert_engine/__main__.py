"""``logbert-engine``: the command line of the engine."""

from __future__ import annotations

import io
import sys


def main() -> int:
    """Run the command line of this process; returns the exit status."""
    try:
        _accept_any_character()
        from logbert_engine.commands import main as run_command

        return run_command()
    except KeyboardInterrupt:  # while modules are imported, which takes longer than a finger
        return 130


def _accept_any_character() -> None:
    """Where output is not UTF-8 (LC_ALL=C), a dash or a name that it cannot show becomes a question mark."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.encoding.lower().replace("-", "") != "utf8":
        out.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
