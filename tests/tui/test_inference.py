from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from textual.widgets import Input

from logbert_engine.daemon.engine import Engine
from logbert_engine.daemon.inference import Inferences
from logbert_engine.protocol.locations import socket_path
from logbert_engine.rundir.layout import RunLayout
from logbert_tui.app import LogbertApp
from logbert_tui.screens.session import SessionScreen
from logbert_tui.widgets.line_list import LineList
from tests.tui.scored import TOTAL, WAITING, on_inference, ranked, scored, text_of, until, until_text

SCORING = """
import json, pathlib, sys
from logbert_engine.commands.scoring import share
for done in range(0, 101, 20):
    print(json.dumps({"phase": "scoring", "done": done, "total": 100}), flush=True)
words = dict(word.split("=", 1) for word in sys.argv if "=" in word)
output = pathlib.Path(words["--output"])
output.parent.mkdir(parents=True, exist_ok=True)
record = {"session_id": "fresh", "anomaly_score": 3.5, "is_anomaly": True, "surprisal": 1.0, "length": 2}
output.write_text(json.dumps([{**record, "budget": share(words["--alert-budget"]), "reason": "just scored"}]))
print(json.dumps({"state": "finished", "message": "done"}))
"""
ADAPTING = (
    "import sys; sys.exit('logbert-engine: ' + ('adapting.' if '--adapt' in sys.argv else 'as it is.'))"
)
FAILING = "import sys; sys.exit('logbert-engine: the checkpoint is of another vocabulary.')"


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_the_latest_results_are_shown_ranked_without_scoring_again(
    engine: Engine, run: RunLayout, results: Path, size: tuple[int, int]
) -> None:
    async with on_inference(run, size) as pilot:
        await until_text(pilot, "blk_00000")
        await until_text(pilot, "of ordinary sessions")
        text = text_of(pilot)
        assert all(len(line) == size[0] for line in text)
        whole = "\n".join(text)
        assert "1,234 sessions" in whole
        assert "✗ 100 anomalies" in whole
        for figure in ("threshold 8.00", "mean 2.8", "deviation 3.56", "min -3.33", "max 9.00"):
            assert figure in whole
        assert "threshold 8.00 (alarms on ≈0.52% of ordinary sessions)" in whole
        assert "(8.10% of this input)" in whole
        first = next(line for line in text if " blk_00000 " in line and "9.00" in line)
        assert first.split()[:4] == ["│", "▌", "1", "9.00"] if size[0] == 120 else "▌" in first
        assert "✗" in first
        assert "expected E5" in first
        assert "stage_2_100pct, best model" in whole
        assert "0.1%" in whole
        assert "adapt: off" in whole


async def test_every_column_stands_under_its_title(engine: Engine, run: RunLayout, results: Path) -> None:
    async with on_inference(run, (160, 40)) as pilot:
        await until_text(pilot, "blk_00002")
        text = text_of(pilot)
        titles = next(line for line in text if "session" in line and "reason" in line)
        for title, row, value in (
            ("service", "blk_00000", "gateway"),
            ("same", "blk_00001", "×3"),
            ("unseen", "blk_00002", "2"),
            ("reason", "blk_00000", "expected"),
        ):
            line = next(line for line in text if row in line)
            begin = titles.index(title)
            if title in ("same", "unseen"):
                assert line[: begin + len(title)].endswith(f" {value}")
            else:
                assert line[begin:].startswith(value)


async def test_pages_come_as_they_are_scrolled_to(engine: Engine, run: RunLayout, results: Path) -> None:
    async with on_inference(run, (100, 30)) as pilot:
        await until_text(pilot, "blk_00000")
        await pilot.press("G")
        await until_text(pilot, f"blk_{TOTAL - 1:05d}")
        assert ranked(pilot).cursor == TOTAL - 1
        line = next(line for line in text_of(pilot) if f"blk_{TOTAL - 1:05d}" in line and "1,234" in line)
        assert "✗" not in line


async def test_a_session_is_opened_event_by_event(engine: Engine, run: RunLayout, results: Path) -> None:
    async with on_inference(run) as pilot:
        await until_text(pilot, "blk_00000")
        await pilot.press("j", "enter")
        await until_text(pilot, "2 of 1,234")
        await until_text(pilot, "Connection reset by <*>")
        whole = "\n".join(text_of(pilot))
        for words in (
            "blk_00001",
            "score 8.99",
            "✗ anomaly",
            "saw E9 in session 1",
            "gateway · 2025-08-22T14:05:00 · 4 events · mean 2.50 nats · 3 alike · sessions.json",
            "≠ E5 (72%), E7 (9%)",
            "8.25 nats, 0.026% probable",
            "72%  E5  Request <*> accepted",
        ):
            assert words in whole, whole
        assert next(line for line in text_of(pilot) if "▌" in line).split()[1] == "3"
        await pilot.press("n")
        await until_text(pilot, "3 of 1,234")
        await until_text(pilot, "2 never seen in training")
        await pilot.press("p", "p")
        await until_text(pilot, "1 of 1,234")
        await pilot.press("p")
        await until_text(pilot, "This is the first session.")
        await pilot.press("escape", "escape")
        await until_text(pilot, "1,234 sessions")
        assert ranked(pilot).cursor == 1


async def test_the_keys_of_a_session_go_to_its_surprises_and_copy_its_id(
    engine: Engine, run: RunLayout, results: Path
) -> None:
    async with on_inference(run, (80, 24)) as pilot:
        await until_text(pilot, "blk_00000")
        await pilot.press("enter")
        await until_text(pilot, "1 of 1,234")
        await until(pilot, lambda: pilot.app.screen.query_one(LineList).cursor == 2)
        await pilot.press("E")
        assert pilot.app.screen.query_one(LineList).cursor == 0
        await pilot.press("e")
        assert pilot.app.screen.query_one(LineList).cursor == 2
        await pilot.press("e")
        await until_text(pilot, "No surprising event below.")
        await pilot.press("y")
        assert pilot.app.clipboard == "blk_00000"


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_session_is_laid_beside_the_nearest_ordinary_one(
    engine: Engine, run: RunLayout, results: Path, size: tuple[int, int]
) -> None:
    async with on_inference(run, size) as pilot:
        await until_text(pilot, "blk_00000")
        await pilot.press("enter")
        await until_text(pilot, "nearest ordinary session: 2 changes, seen 4,321 times in training")
        await pilot.press("b")
        await until_text(pilot, "Nearest ordinary session: 2 changes, seen 4,321 times in training.")
        shown = [line.strip() for line in text_of(pilot)]
        place = next(i for i, line in enumerate(shown) if "≠ E9" in line)
        assert "Connection reset by <*>" in shown[place]
        assert "− E5" in shown[place + 1]
        assert "Request <*> accepted" in shown[place + 1]
        assert "− E7" in shown[place + 2]
        assert any(line.split()[:3] == ["E9", "1", "0"] for line in shown)
        await pilot.press("n", "n")
        await until_text(pilot, "The nearest ordinary session is looked up for the top of the list only.")
        await pilot.press("escape")
        await until_text(pilot, "≠ E5 (72%), E7 (9%)")
        await pilot.press("b", "e")
        await until_text(pilot, "surprisal")


async def test_sessions_are_judged_from_the_list_and_from_the_session(
    engine: Engine, run: RunLayout, results: Path
) -> None:
    async with on_inference(run) as pilot:
        await until_text(pilot, "blk_00000")
        await pilot.press("N")
        await until_text(pilot, "Session blk_00000: normal from now on. U takes it back.")
        await until_text(pilot, "✓ normal")
        await pilot.press("j", "enter")
        await until_text(pilot, "2 of 1,234")
        await pilot.press("A")
        await until_text(pilot, "judged anomaly")
        await pilot.press("escape", "escape")
        await until_text(pilot, "✗ agreed")
        await pilot.press("U")
        await until(pilot, lambda: not any("✗ agreed" in line for line in text_of(pilot)))
        assert any("✓ normal" in line for line in text_of(pilot))


async def test_a_session_without_details_says_which_are_kept(
    engine: Engine, run: RunLayout, results: Path
) -> None:
    async with on_inference(run, (80, 24)) as pilot:
        await until_text(pilot, "blk_00000")
        await pilot.press("G")
        await until_text(pilot, "blk_01233")
        await pilot.press("enter")
        await until_text(pilot, "Only the most surprising events of this session were kept")
        whole = "\n".join(text_of(pilot))
        assert "score again with" in whole
        assert "≠ E5 (72%), E7 (9%)" in whole
        assert "normal" in whole


async def test_scoring_shows_its_progress_and_then_what_it_found(engine: Engine, run: RunLayout) -> None:
    engine.inferences = Inferences([sys.executable, "-c", SCORING])
    async with on_inference(run, (100, 30)) as pilot:
        await until_text(pilot, "Nothing was scored yet.")
        output = pilot.app.screen.query_one("#output", Input)
        assert output.value == f"{run.root}/results/data_stage_2.json"
        await pilot.press("ctrl+s")
        await until_text(pilot, "just scored")
        await until_text(pilot, " 1 session ")
        await until(pilot, lambda: output.value == f"{run.root}/results/data_stage_2_2.json")
        assert ranked(pilot).has_focus


async def test_a_running_inference_is_shown_and_can_be_cancelled(engine: Engine, run: RunLayout) -> None:
    engine.inferences = Inferences([sys.executable, "-c", WAITING])
    async with on_inference(run, (100, 30)) as pilot:
        await pilot.press("ctrl+s")
        await until_text(pilot, "25%  30 of 120")
        await pilot.press("ctrl+s")
        await until_text(pilot, "An inference runs already; c cancels it.")
        await pilot.press("c")
        await until_text(pilot, "The inference was cancelled; no results were written.")
        assert not any("30 of 120" in line for line in text_of(pilot))


async def test_a_failed_inference_says_why_in_one_sentence(engine: Engine, run: RunLayout) -> None:
    engine.inferences = Inferences([sys.executable, "-c", FAILING])
    async with on_inference(run, (100, 30)) as pilot:
        await pilot.press("ctrl+s")
        await until_text(pilot, "The inference failed: the checkpoint is of another vocabulary.")


async def test_the_switch_says_whether_to_adapt(engine: Engine, run: RunLayout) -> None:
    engine.inferences = Inferences([sys.executable, "-c", ADAPTING])
    async with on_inference(run, (80, 24)) as pilot:
        await pilot.press("ctrl+s")
        await until_text(pilot, "The inference failed: as it is.")
        pilot.app.screen.query_one("#adapt").focus()
        await pilot.press("space")
        await until_text(pilot, "adapt: on")
        await pilot.press("ctrl+s")
        await until_text(pilot, "The inference failed: adapting.")


async def test_a_field_that_cannot_be_understood_is_named_before_anything_starts(
    engine: Engine, run: RunLayout
) -> None:
    async with on_inference(run, (100, 30)) as pilot:
        await pilot.press("d", "tab", "tab", *"much", "enter")
        await until_text(pilot, "“much” is neither a score nor a share")
        await pilot.press("escape", "escape")
        assert ranked(pilot).has_focus


async def test_another_checkpoint_and_another_results_file_are_chosen_by_keyboard(
    engine: Engine, run: RunLayout, results: Path
) -> None:
    async with on_inference(run, (100, 30)) as pilot:
        await until_text(pilot, "blk_00000")
        await pilot.press("d", "up", "right")
        await until_text(pilot, "stage_1_50pct, best model")
        assert pilot.app.screen.query_one("#output", Input).value.endswith("/data_stage_1.json")
        other = results.with_name("later.json")
        other.write_bytes(msgspec.json.encode([scored(7)]))
        await pilot.press("escape", "2")
        await pilot.press("4")
        await until(pilot, lambda: pilot.app.screen.query_one("#files", LineList).source.count == 2)
        await pilot.press("o")
        await until_text(pilot, "results/later.json")
        names = [line for line in text_of(pilot) if "just now" in line]
        await pilot.press(*["j"] * next(i for i, line in enumerate(names) if "later" in line), "enter")
        await until_text(pilot, "blk_00007")
        await until_text(pilot, " 1 session ")


async def test_results_that_cannot_be_read_are_explained(
    engine: Engine, run: RunLayout, results: Path
) -> None:
    await asyncio.to_thread(results.write_text, '[{"anomaly_score": "high"}]')
    async with on_inference(run, (100, 30)) as pilot:
        await until_text(pilot, "logbert-engine infer (Expected")


async def test_a_field_of_the_form_offers_its_own_keys_and_esc_leaves_it_first(
    engine: Engine, run: RunLayout, results: Path
) -> None:
    async with on_inference(run, (80, 24)) as pilot:
        await until_text(pilot, "blk_00000")
        output = pilot.app.screen.query_one("#output", Input).value
        assert any(output[-20:] in line for line in text_of(pilot)), "a long path shows its end"
        await pilot.press("d")
        await until(
            pilot,
            lambda: text_of(pilot)[-1].split() == ["^S", "start", "Tab", "next", "Esc", "leave", "field"],
        )
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen.focused is ranked(pilot))
        await until_text(pilot, "open results")


async def test_without_a_run_the_screen_says_what_to_do(engine: Engine) -> None:
    app = LogbertApp(socket=socket_path())
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show("inference")
        await until_text(pilot, "No run is open. 1 chooses a preset")
        await pilot.press("ctrl+s", "c", "enter", "o", "escape")
        await pilot.pause()


@pytest.mark.slow
async def test_a_trained_run_is_scored_and_read_from_the_console(engine: Engine, tmp_path: Path) -> None:
    def command(*words: str | Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "logbert_engine", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    data, run = tmp_path / "demo", RunLayout(tmp_path / "run")
    command("demo-data", data, "--sessions", "400", "--days", "2")
    command(
        *("train", "--data", data / "sessions", "--run-dir", run.root, "--preset", "test", "--foreground"),
        *("--sample-ratio", "1.0", "--max-files", "0"),
    )
    async with on_inference(run) as pilot:
        inputs = pilot.app.screen.query_one("#inputs", Input)
        inputs.value = str(data / "eval")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: ranked(pilot).source.count > 100, seconds=120)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SessionScreen))
        await until_text(pilot, "nats")
        assert (run.root / "results" / "eval_stage_1.json").is_file()
