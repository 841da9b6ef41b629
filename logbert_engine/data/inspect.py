"""A quick look at session files, before anything is compiled."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np

from logbert_engine.data.contract import EventId, Rejected, Session
from logbert_engine.data.files import session_files
from logbert_engine.data.reading import sessions_in
from logbert_engine.data.source import naming, opened, unpacked_size
from logbert_engine.data.templates import find_templates
from logbert_engine.data.times import day_of
from logbert_engine.protocol.messages import DataSummary

_MOST_SESSIONS = 2000
_LONGEST_LOOK = 0.5
"""Seconds."""
_SHARES = (np.arange(40) + 0.5) / 40


def inspect(path: Path) -> DataSummary:
    """Look at the names and sizes of all files and at the first sessions of the first one.

    Raises:
        DataError: there are no session files, or the first cannot be read.
    """
    files = session_files(path)
    sizes = []
    for file in files:
        with naming(file):
            sizes.append(file.stat().st_size)
    days = [day for day in (day_of(file.name) for file in files) if day]
    peeked, share, rejected = _peek(files[0])
    lengths = [len(session.events) for session in peeked]
    events: set[EventId] = set()
    for session in peeked:
        events.update(session.events)
    sequences = [tuple(session.events) for session in peeked]
    unlike = [len(sequence) for sequence in set(sequences)]
    in_first = len(peeked) if share >= 1.0 else len(peeked) / share
    return DataSummary(
        path=str(path),
        files=len(files),
        bytes=sum(sizes),
        first_file=files[0].name,
        last_file=files[-1].name,
        first_day=min(days, default=""),
        last_day=max(days, default=""),
        peeked_sessions=len(peeked),
        peeked_all=share >= 1.0,
        distinct_events=len(events),
        peeked_distinct=len(unlike),
        peeked_distinct_half=len(set(sequences[: len(sequences) // 2])),
        median_length=int(np.median(lengths)) if lengths else 0,
        mean_length=round(float(np.mean(lengths)), 1) if lengths else 0.0,
        distinct_mean_length=round(float(np.mean(unlike)), 1) if unlike else 0.0,
        distinct_lengths=[int(n) for n in np.quantile(unlike, _SHARES, method="nearest")] if unlike else [],
        longest=max(lengths, default=0),
        services=dict(Counter(session.service for session in peeked if session.service).most_common()),
        labelled=sum(session.label is not None for session in peeked),
        rejected=rejected,
        templates=len(find_templates(path, None)),
        estimated_sessions=round(in_first * sum(sizes) / sizes[0]) if sizes[0] else 0,
    )


def _peek(file: Path) -> tuple[list[Session], float, int]:
    """The first sessions, the share of the file's text that they took, and how many records were no use."""
    sessions: list[Session] = []
    rejected = 0
    deadline = time.monotonic() + _LONGEST_LOOK
    with opened(file) as source:
        for found in sessions_in(source, in_memory=0):
            if isinstance(found, Rejected):
                rejected += 1
            else:
                sessions.append(found)
            if len(sessions) + rejected >= _MOST_SESSIONS or time.monotonic() > deadline:
                read = source.content.tell()
                return sessions, min(1.0, read / max(read + 1, unpacked_size(file))), rejected
    return sessions, 1.0, rejected
