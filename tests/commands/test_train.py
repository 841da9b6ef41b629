"""What ``train`` says of a preset that nobody chose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from logbert_engine.commands.dispatch import main
from logbert_engine.protocol.events import RunOpened
from logbert_engine.protocol.messages import Accelerator
from logbert_engine.rundir.layout import RunLayout

GPU = Accelerator(kind="cuda", name="a GPU")


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command line whose worker opens its run at once and does not train."""

    def opened(layout: RunLayout) -> RunOpened:
        return RunOpened(attempt=1, pid=7, host="here", preset="", device="cpu", stages=[])

    monkeypatch.setattr("logbert_engine.commands.waiting.start_worker", opened)
    sessions = tmp_path / "preprocessed_logs_2025-01-01.json"
    sessions.write_text(json.dumps([{"session_id": i, "event_sequence": [1, 2, 3]} for i in range(60)]))
    return ["train", "--data", str(sessions), "--run-dir", str(tmp_path / "run")]


@pytest.mark.parametrize(
    ("more", "accelerators", "advised"),
    [
        ([], [], True),
        (["--preset", "transfer"], [], False),
        (["--preset", "quick"], [], False),
        ([], [GPU], False),
    ],
    ids=["no preset", "the same by name", "another", "no preset, with a GPU"],
)
def test_without_a_preset_and_a_gpu_the_small_one_is_advised(
    words: list[str],
    more: list[str],
    accelerators: list[Accelerator],
    advised: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("logbert_engine.hardware.probe.accelerators", lambda *_: accelerators)
    assert main([*words, *more]) == 0
    said = capsys.readouterr()
    assert "training in the background, process 7" in said.out
    if advised:
        assert said.err.startswith("no preset is named, so transfer fine-tunes a large model")
        assert said.err.endswith("--preset quick\n")
        assert said.err.count("\n") == 1
    else:
        assert said.err == ""
