"""``logbert-engine``: the command line of the engine."""

from __future__ import annotations

import sys

from logbert_engine.commands import main

if __name__ == "__main__":
    sys.exit(main())
