"""Row 9: damage to ``run.yaml``. It is named, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import config_text, read_config, write_config
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.errors import PresetError
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.layout import RunLayout
from tests.faults.damages import zero

pytestmark = pytest.mark.row(9)

Seen = Callable[[str, object], None]
MATTERS = ("model", "data", "training", "stages", "memory", "device", "seed")
"""What a run trains; what follows in the file is for people."""


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return resolve(RunSpec(data="/data", run_dir=str(tmp_path / "run"), preset="test", progressive=True))


@pytest.fixture
def run(tmp_path: Path, config: RunConfig) -> RunLayout:
    layout = RunLayout(tmp_path / "run")
    write_config(layout, config)
    return layout


def read(run: RunLayout) -> RunConfig | None:
    """The configuration; None where it is refused in a sentence that names the file."""
    try:
        return read_config(run)
    except PresetError as error:
        message = str(error)
    assert str(run.config) in message
    assert "\n" not in message
    return None


def flipped_bits(run: RunLayout, config: RunConfig, step: int) -> int:
    """Flip a bit in one byte after the other; returns how often that was refused."""
    content = run.config.read_bytes()
    last_line = content.rindex(b"#")
    refused = 0
    for place in range(0, len(content), step):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        run.config.write_bytes(damaged)
        found = read(run)
        if found is None:
            refused += 1
        else:  # a flip in the words of the last line may hide it; what it vouches for is undamaged then
            assert found == config
            assert place >= last_line
    return refused


def test_a_flipped_bit_is_named_with_what_to_do(run: RunLayout, config: RunConfig) -> None:
    assert flipped_bits(run, config, 7) > 100


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_named(run: RunLayout, config: RunConfig, record_property: Seen) -> None:
    record_property("flipped bits", flipped_bits(run, config, 1))


def test_a_truncated_file_never_trains_something_else(run: RunLayout, config: RunConfig) -> None:
    content = run.config.read_bytes()
    for length in range(0, len(content), 5):
        run.config.write_bytes(content[:length])
        found = read(run)
        if found is not None:
            assert all(getattr(found, name) == getattr(config, name) for name in MATTERS)


def test_a_zeroed_file_is_named(run: RunLayout) -> None:
    zero(run.config, run.config)
    assert read(run) is None


def test_a_file_edited_on_purpose_loads_without_its_last_line(run: RunLayout, config: RunConfig) -> None:
    lines = config_text(config).splitlines(keepends=True)
    edited = "".join(lines[:-1]).replace("seed: 1337", "seed: 7")
    run.config.write_text(edited + lines[-1])
    with pytest.raises(
        PresetError, match=r"run\.yaml is damaged.*remove the last line if the file was edited"
    ):
        read_config(run)
    run.config.write_text(edited)
    assert read_config(run).seed == 7
