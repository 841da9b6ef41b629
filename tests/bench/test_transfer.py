from __future__ import annotations

from tests.bench.transfer import together


def test_events_are_named_by_their_logs_and_few_sessions_do_not_lie_in_one_place() -> None:
    pools = {
        logs: [{"session_id": f"{logs}{i}", "event_sequence": [5], "label": 0} for i in range(count)]
        for logs, count in (("many", 1000), ("few", 50))
    }
    records = together(pools)
    assert len(records) == 1050
    assert {tuple(record["event_sequence"]) for record in records} == {("many:5",), ("few:5",)}
    assert not any("label" in record for record in records)
    for part in (records[:525], records[525:]):
        assert sum(record["event_sequence"] == ["few:5"] for record in part) > 10
