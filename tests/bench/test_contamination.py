from __future__ import annotations

import random

import pytest

from tests.bench.contamination import mixed, needed


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.5])
def test_what_is_mixed_in_makes_up_the_share_of_the_whole(share: float) -> None:
    anomalies = needed(4855, share)
    assert anomalies / (4855 + anomalies) == pytest.approx(share, abs=1e-4)


def test_training_sees_all_normals_in_order_the_anomalies_among_them_and_no_label() -> None:
    normals = [
        {"session_id": f"n{i}", "event_sequence": [i], "label": 0, "timestamp": "x"} for i in range(40)
    ]
    anomalies = [{"session_id": f"a{i}", "event_sequence": [99], "label": 1} for i in range(8)]
    files = mixed([normals[:30], normals[30:]], anomalies, random.Random(3))
    together = [record for records in files for record in records]
    assert {frozenset(record) for record in together} == {frozenset(("session_id", "event_sequence"))}
    names = [record["session_id"] for record in together]
    assert [name for name in names if name[0] == "n"] == [f"n{i}" for i in range(40)]
    assert sorted(name for name in names if name[0] == "a") == [f"a{i}" for i in range(8)]
    assert names[-8:] != [f"a{i}" for i in range(8)]
    assert normals[0]["label"] == 0
