"""Findings about the terminal that the console would be shown in. None of them keeps training from working."""

from __future__ import annotations

import codecs
from collections.abc import Mapping

from logbert_engine.diagnosis.finding import Finding, notice, well

LEAST_COLUMNS, LEAST_ROWS = 60, 20
_TRUE = {"truecolor", "24bit"}


def findings(environment: Mapping[str, str], size: tuple[int, int] | None, encoding: str) -> list[Finding]:
    """What the console can show.

    Args:
        environment: variables.
        size: columns and rows; None where the output is no terminal.
        encoding: of the output, as the locale has it.
    """
    found = [_size(size), _kind(environment), *_colours(environment), _letters(encoding)]
    if "SSH_CONNECTION" in environment or "SSH_TTY" in environment:
        found.append(well("over SSH: when the connection goes, training goes on"))
    return found


def _size(size: tuple[int, int] | None) -> Finding:
    if size is None:
        return well("the output is no terminal, so its size is unknown")
    columns, rows = size
    if columns < LEAST_COLUMNS or rows < LEAST_ROWS:
        return notice(
            f"{columns} columns and {rows} rows are too few for the console",
            f"Make the window at least {LEAST_COLUMNS} by {LEAST_ROWS}.",
        )
    return well(f"{columns} columns, {rows} rows")


def _kind(environment: Mapping[str, str]) -> Finding:
    kind = environment.get("TERM", "")
    if kind in ("", "dumb", "unknown"):
        return notice(
            f"TERM is {kind or 'not set'}, a terminal without a cursor",
            "Open the console in a terminal of your own, or run: export TERM=xterm-256color",
        )
    multiplexer = "tmux" if "TMUX" in environment else "screen" if "STY" in environment else ""
    return well(f"TERM={kind}{f', inside {multiplexer}' if multiplexer else ''}")


def _colours(environment: Mapping[str, str]) -> list[Finding]:
    if environment.get("NO_COLOR"):
        return [notice("NO_COLOR is set, so the console is without colours", "Unset it to see them.")]
    depth = environment.get("COLORTERM", "")
    if depth in _TRUE:
        return [well(f"COLORTERM={depth}: all colours")]
    if "TMUX" in environment:
        mend = (
            "If your terminal has more, put set -as terminal-features ',*:RGB' in ~/.tmux.conf and run: export "
            "COLORTERM=truecolor"
        )
    else:
        mend = "If your terminal has more, run: export COLORTERM=truecolor"
    return [notice("COLORTERM does not promise all colours, so charts have 256", mend)]


def _letters(encoding: str) -> Finding:
    try:
        utf8 = codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        utf8 = False
    if utf8:
        return well("the locale is UTF-8")
    return notice(
        f"the locale is {encoding or 'unknown'}, not UTF-8: charts and marks cannot be drawn",
        "Run: export LANG=C.UTF-8 (macOS: en_US.UTF-8)",
    )
