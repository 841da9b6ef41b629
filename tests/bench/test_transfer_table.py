from __future__ import annotations

from tests.bench.transfer_table import Cell, Result, text


def result(arm: str, seed: int, losses: list[float], ap: float) -> Result:
    return Result(
        cell=Cell(target="hdfs", share=0.1, arm=arm, seed=seed),
        steps=[20, 40, 60],
        losses=losses,
        f1=0.5,
        average_precision=ap,
        false_alarm_rate=0.0,
        floor_f1=0.4,
        training_s=1.0,
        evaluation_s=1.0,
    )


RESULTS = [
    result("scratch", 1, [0.9, 0.5, 0.6], 0.7),
    result("scratch", 2, [0.9, 0.6, 0.4], 0.8),
    result("pre-trained", 1, [0.5, 0.45, 0.4], 0.75),
    result("pre-trained", 2, [0.9, 0.6, 0.41], 0.8),
    result("placebo", 1, [0.9, 0.8, 0.7], 0.65),
]


def rows(first: str) -> list[list[str]]:
    lines = [line.strip("| ").split(" | ") for line in text(RESULTS).splitlines()]
    return [line for line in lines if line[:3] == ["hdfs", "10%", first]]


def test_steps_count_to_the_lowest_loss_of_scratch_under_the_same_seed() -> None:
    assert rows("scratch")[0][5] == "50 (40 to 60)"
    assert rows("pre-trained")[0][5] == "20, in 1 of 2"
    assert rows("placebo")[0][5] == "in none of 1"


def test_gains_are_of_the_same_seed_on_both_sides() -> None:
    gains = {line[3]: line[4:7] for line in rows("pre-trained")[1:]}
    assert gains["scratch"] == ["2", "-0.045 (-0.100 to +0.010)", "+0.025 (+0.000 to +0.050)"]
    assert gains["placebo"] == ["1", "-0.300", "+0.100"]
