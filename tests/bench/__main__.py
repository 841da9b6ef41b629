"""Run every benchmark, or those named on the command line, and print what they found."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

BENCHMARKS = ("training", "saving", "pausing", "growth")


def main() -> int:
    """Returns 0 when every benchmark met its figure."""
    met = True
    for name in sys.argv[1:] or BENCHMARKS:
        if not (Path(__file__).parent / f"{name}.py").exists():
            raise SystemExit(f"there is no benchmark {name}.")
        module = importlib.import_module(f"tests.bench.{name}")
        met = module.run() and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
