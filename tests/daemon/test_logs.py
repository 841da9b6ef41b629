"""Reading a run's logs through the engine."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.daemon.logs import MOST_BYTES, read_chunk
from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.messages import ReadLog, RunRef

NAME = "logs/progressive_training_20250101_000000.log"


@pytest.fixture
def log(run):
    run.logs.mkdir()
    return run.root / NAME


async def test_logs_are_listed_with_their_stage(engine, follow, run, log):
    log.write_text("a line\n")
    stage = run.stage("stage_2_100pct")
    stage.logs.mkdir(parents=True)
    stage.new_log(0).write_text("another line\n")
    client = (await follow()).client
    listed = (await client.call("list_logs", RunRef(run_dir=str(run.root)))).files
    assert [(f.name, f.size, f.stage) for f in listed] == [
        (NAME, 7, None),
        (stage.new_log(0).relative_to(run.root).as_posix(), 13, 2),
    ]


async def test_a_long_log_is_read_whole_in_pieces_of_whole_lines(engine, follow, run, log):
    text = "".join(f"{i} {'ä' * (i % 90)}\n" for i in range(20_000))
    log.write_text(text)
    client = (await follow()).client
    at, parts = 0, []
    while True:
        chunk = await client.call("read_log", ReadLog(run_dir=str(run.root), name=NAME, start=at))
        if chunk.start == chunk.size:
            break
        assert chunk.start == at
        assert chunk.text.endswith("\n")
        parts.append(chunk.text)
        at = chunk.end
    assert "".join(parts) == text
    assert len(parts) > 5


async def test_the_end_of_a_log_begins_with_a_whole_line(engine, follow, run, log):
    log.write_text("".join(f"line {i}\n" for i in range(1000)) + "unfinished")
    client = (await follow()).client
    chunk = await client.call("read_log", ReadLog(run_dir=str(run.root), name=NAME, start=-30))
    assert chunk.text == "line 998\nline 999\nunfinished"
    assert chunk.end == chunk.size


async def test_a_chunk_of_control_characters_fits_in_a_frame(engine, follow, run, log):
    log.write_bytes(b"\x00" * (1 << 20))
    client = (await follow()).client
    chunk = await client.call("read_log", ReadLog(run_dir=str(run.root), name=NAME, start=0, most=1 << 20))
    assert chunk.end == MOST_BYTES


@pytest.mark.parametrize("name", ["../run.yaml", "run.yaml", "/etc/passwd", "", "logs/link.log", NAME + "/"])
async def test_nothing_but_the_logs_of_the_run_can_be_read(engine, follow, run, log, name):
    log.write_text("a line\n")
    (run.logs / "link.log").symlink_to("/etc/passwd")
    (run.logs / "progressive_training_link.log").symlink_to("/etc/passwd")
    client = (await follow()).client
    for asked in (name, "logs/progressive_training_link.log"):
        with pytest.raises(RunError, match="has no log"):
            await client.call("read_log", ReadLog(run_dir=str(run.root), name=asked, start=0))


@given(
    content=st.lists(st.sampled_from(["a", "ä", "€", "😀", "\n", "longer words"]), max_size=60).map("".join),
    most=st.integers(1, 40),
)
def test_pieces_put_together_are_the_file(tmp_path_factory, content, most):
    path = tmp_path_factory.mktemp("log") / "a.log"
    path.write_bytes(content.encode())
    at, parts = 0, b""
    while at < len(content.encode()):
        chunk = read_chunk(path, at, most)
        assert chunk.end > chunk.start == at, "every piece gets further"
        parts += path.read_bytes()[chunk.start : chunk.end]
        at = chunk.end
    assert parts == content.encode()


@given(content=st.binary(max_size=200), start=st.integers(-300, 300), most=st.integers(-5, 300))
def test_any_place_of_any_bytes_can_be_read(tmp_path_factory, content, start, most):
    path = tmp_path_factory.mktemp("log") / "a.log"
    path.write_bytes(content)
    chunk = read_chunk(path, start, most)
    assert 0 <= chunk.start <= chunk.end <= chunk.size == len(content)
    assert chunk.text == content[chunk.start : chunk.end].decode(errors="replace")


def test_a_log_that_was_cut_reads_as_empty_from_beyond_its_end(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("short\n")
    os.truncate(path, 3)
    assert read_chunk(path, 6, 100).text == ""
