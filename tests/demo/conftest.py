"""A demo written once, and a reader of it that shares no code with the writer."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from logbert_engine.demo.simulate import Scale
from logbert_engine.demo.writing import Written, write_demo


@dataclass(frozen=True)
class Demo:
    """A written demo directory, read back."""

    directory: Path
    scale: Scale
    written: Written

    def sessions(self, folder: str) -> list[dict[str, Any]]:
        """All records of ``sessions`` or ``eval``, in the order of the days."""
        return [
            record
            for path in sorted((self.directory / folder).glob("preprocessed_logs_*.json"))
            for record in json.loads(path.read_text())
        ]

    def faults(self) -> dict[str, dict[str, str]]:
        """Session id to its row of ``faults.csv``."""
        with (self.directory / "faults.csv").open(newline="") as file:
            return {row["session_id"]: row for row in csv.DictReader(file)}

    def vocabulary(self) -> dict[int, str]:
        """Event id to template."""
        with (self.directory / "vocabulary.csv").open(newline="") as file:
            return {int(row["event_id"]): row["template"] for row in csv.DictReader(file)}


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Four days, 8,000 sessions, enough faults to count them by kind."""
    directory = tmp_path_factory.mktemp("demo") / "data"
    scale = Scale(sessions=8_000, days=4, seed=7, anomaly_rate=0.03)
    return Demo(directory, scale, write_demo(directory, scale))
