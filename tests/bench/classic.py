"""The classic HDFS training sessions: 4,855 normals, the first two files of the shared training pool."""

from __future__ import annotations

import os
from pathlib import Path

MOST_FILES = 2
WIDTH, LAYERS, HEADS, FFN, BATCH, DROPOUT = 256, 4, 4, 512, 32, 0.1
"""The paper's model size (Guo et al., LogBERT, IJCNN 2021), BERT's dropout, the peer's batch."""


def sessions_folder() -> Path:
    """Where the session files lie.

    Raises:
        SystemExit: they are not there.
    """
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("LOGBERT_SHARED", root.parent / "shared")) / "data" / "hdfs" / "train"
    if not folder.is_dir():
        raise SystemExit(f"needs the labelled sessions in {folder} (set LOGBERT_SHARED).")
    return folder
