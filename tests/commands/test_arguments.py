"""What a command line says that makes no sense is refused before anything is done."""

from __future__ import annotations

import pytest

from logbert_engine.commands.dispatch import main


@pytest.mark.parametrize("seed", ["-1", "1.5", "x", "9" * 30])
def test_a_seed_of_the_bootstrap_is_a_whole_number(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--checkpoint", "c", "--input", "i", f"--seed={seed}"])
    assert "--seed" in capsys.readouterr().err.splitlines()[-1]
