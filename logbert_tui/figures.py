"""How figures are written, the same on every screen: 1,234; 12.3 k/s; 1 h 05 m; 512 MB."""

from __future__ import annotations

import os
import time
from pathlib import Path

from logbert_engine.protocol import figures_in_words

NONE = figures_in_words.NONE


def count(value: float | None) -> str:
    """A whole number with thousands separated: ``1,234``."""
    return NONE if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """A number in at most five characters: ``950``, ``12.3 k``, ``2.46 M``, ``109 M``."""
    if value is None:
        return NONE
    for limit, divisor, unit in ((999.5, 1, ""), (999.5e3, 1e3, " k"), (999.5e6, 1e6, " M")):
        if abs(value) < limit:
            return _digits(value / divisor) + unit if unit else f"{value:.0f}"
    return _digits(value / 1e9) + " G"


def rate(value: float | None) -> str:
    """A number a second: ``12.3 k/s``."""
    return NONE if value is None else f"{short(value)}/s"


def megabytes(value: float | None) -> str:
    """A size given in MB: ``512 MB``, ``7.8 GB``."""
    return NONE if value is None else figures_in_words.megabytes(value)


def size(value: float) -> str:
    """A size given in bytes: ``912 B``, ``64 KB``, ``1.2 GB``."""
    if value < 1000:
        return f"{value:.0f} B"
    if value < 999.5 * 1024:
        return f"{value / 1024:.0f} KB"
    return megabytes(value / (1 << 20))


def percent(share: float | None) -> str:
    """A share of 1 as a percentage: ``10%``, ``0.5%``."""
    if share is None:
        return NONE
    return f"{round(share * 100, 1):g}%"


def loss(value: float | None) -> str:
    """A loss in nats, four significant digits at most: ``0.1234``."""
    if value is None:
        return NONE
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1000 else f"{value:.2e}"


def duration(seconds: float | None) -> str:
    """Two units at most: ``42 s``, ``3 m 07 s``, ``1 h 05 m``, ``2 d 04 h``."""
    if seconds is None:
        return NONE
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def ago(t: float, now: float | None = None) -> str:
    """How long ago a moment was: ``just now``, ``5 m ago``, ``3 h ago``, ``2 d ago``."""
    seconds = (time.time() if now is None else now) - t
    if seconds < 60:
        return "just now"
    for limit, divisor, unit in ((3600, 60, "m"), (86400, 3600, "h"), (float("inf"), 86400, "d")):
        if seconds < limit:
            return f"{int(seconds // divisor)} {unit} ago"
    return NONE


def clock(t: float) -> str:
    """Local time of day: ``14:05:09``."""
    return time.strftime("%H:%M:%S", time.localtime(t))


def moment(t: float, now: float | None = None) -> str:
    """Local time to the minute, with its day unless that is today: ``14:05``, ``2025-08-22 14:05``."""
    then, today = time.localtime(t), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


def home_path(path: str, home: str = "") -> str:
    """A path with the home directory as ``~``."""
    base = home or str(Path.home())
    if base != os.sep and (path == base or path.startswith(base.rstrip(os.sep) + os.sep)):
        return "~" + path[len(base.rstrip(os.sep)) :]
    return path


def keep_end(text: str, width: int) -> str:
    """A text cut at its beginning, for paths: the end says most."""
    if len(text) <= width:
        return text
    return "…" + text[len(text) - width + 1 :] if width > 0 else ""


def keep_last_parts(path: str, width: int) -> str:
    """A path without as many of its first folders as it takes: ``…/runs/a``; its last part is cut last of all."""
    if len(path) <= width:
        return path
    parts = path.rstrip("/").split("/")
    for first in range(1, len(parts)):
        short_path = "/".join(("…", *parts[first:]))
        if len(short_path) <= width:
            return short_path
    return keep_end(parts[-1], width)


def keep_start(text: str, width: int) -> str:
    """A text cut at its end."""
    if len(text) <= width:
        return text
    return text[: width - 1] + "…" if width > 0 else ""


def _digits(value: float) -> str:
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    return (f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}").rstrip("0").rstrip(".")
