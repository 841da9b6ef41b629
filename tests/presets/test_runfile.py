"""``run.yaml`` reads back as it was written, and says where it is broken."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logbert_engine.presets.document import parse
from logbert_engine.presets.loading import preset_names
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import as_yaml, config_text, read_config, write_config
from logbert_engine.protocol.errors import PresetError, RunError, StorageError
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.layout import RunLayout


def request(run: Path, preset: str = "transfer") -> RunSpec:
    return RunSpec(data="/data", run_dir=str(run), preset=preset)


@pytest.mark.parametrize("preset", preset_names())
def test_a_configuration_survives_the_file(tmp_path: Path, preset: str) -> None:
    run = RunLayout(tmp_path / "run")
    config = resolve(request(run.root, preset))
    write_config(run, config)
    assert read_config(run) == config
    assert [path.name for path in run.root.iterdir()] == ["run.yaml"]
    assert run.config.read_text() == config_text(config)


def test_the_file_is_for_people(tmp_path: Path) -> None:
    text = config_text(resolve(request(tmp_path)))
    assert "  mask_ratio: [0.15, 0.75]\n" in text
    assert "  accuracy: 70–75%\n" in text


def test_a_directory_without_the_file_is_no_run(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match=r"is not a run directory \(it has no run.yaml\)"):
            read_config(RunLayout(root))


def test_a_broken_file_is_named_with_its_position(tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    write_config(run, resolve(request(tmp_path)))
    lines = run.config.read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if line.startswith("  batch:"))
    lines[number - 1] = "  batch: none"
    run.config.write_text("\n".join(lines))
    with pytest.raises(PresetError) as caught:
        read_config(run)
    assert str(caught.value).startswith(f'{run.config}:{number}:10: training.batch is "none"; it must be')


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    write_config(run, resolve(request(tmp_path)))
    text = run.config.read_text()
    run.config.write_text(text[: text.index("stages:")])
    with pytest.raises(PresetError, match=r"run\.yaml:2:1: stages is missing"):
        read_config(run)


def test_the_last_line_tells_the_sha256_of_the_lines_above(tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    write_config(run, resolve(request(tmp_path)))
    *above, last = run.config.read_text().splitlines(keepends=True)
    digest = hashlib.sha256("".join(above).encode()).hexdigest()
    assert last == f"# sha256 of the lines above: {digest}\n"


def test_a_value_that_changed_by_itself_is_named_with_what_to_do(tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    config = resolve(request(tmp_path))
    write_config(run, config)
    text = run.config.read_text()
    run.config.write_text(text.replace("seed: 1337", "seed: 1336"))
    with pytest.raises(PresetError) as caught:
        read_config(run)
    assert str(caught.value) == (
        f"{run.config} is damaged: its lines do not have the sha256 that the last one tells; put back a copy, or "
        "remove the last line if the file was edited on purpose."
    )
    run.config.write_text(text[: text.rindex("#")].replace("seed: 1337", "seed: 1336"))
    assert read_config(run).seed == 1336
    run.config.write_text(text.removesuffix("\n"))
    assert read_config(run) == config


def test_a_directory_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_config(RunLayout(blocker / "run"), resolve(request(tmp_path)))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), plain, max_size=4))
@example({"a": "2e-4", "b": "no", "c": "1:30", "d": "<<", "e": "", "f": "~", "g": "0x1f", "h": "2024-01-01"})
@example({"path": "/data/é", "a": 1e-05, "b": 1e22, "c": "\x85\u2028", "<<": 1})
def test_what_is_written_reads_back_unchanged(value: dict[str, object]) -> None:
    assert parse(as_yaml(value), "here").value == value
