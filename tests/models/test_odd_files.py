"""A pipe or a device in a checkpoint's place is refused at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logbert_engine.models.checkpoint import load_model, open_checkpoint
from logbert_engine.models.payload import crc_holds, is_whole
from logbert_engine.protocol.errors import CheckpointError


@pytest.mark.parametrize("odd", ["pipe", "/dev/zero"])
def test_what_is_no_file_is_no_checkpoint(tmp_path: Path, odd: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "best_model.pt"
    path.symlink_to(odd)
    with pytest.raises(CheckpointError, match="not a file"):
        load_model(path)
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        open_checkpoint(path)
    assert not is_whole(path)
    assert not crc_holds(path)
