"""What the picker says of machines whose answers were recorded, kept as text."""

from __future__ import annotations

import pytest

from logbert_engine.protocol.messages import Hardware
from logbert_tui.screens.picker_machine import grouped, hardware_rows
from tests.hardware.machines import RECORDED, machine
from tests.tui.picking import picker
from tests.tui.snapshots import assert_same


def text(rows):
    return "\n".join("".join(part for part, _ in row) for row in rows)


@pytest.mark.parametrize("name", RECORDED)
async def test_snapshot_of_the_presets_on_each_machine(text_of, uncut, name):
    async with picker(name) as pilot:
        uncut(pilot.app.screen)
        assert_same(f"picker-{name}", text_of(pilot.app.screen))


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (132, 50)], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_snapshot_of_the_picker_at_other_sizes(text_of, uncut, size):
    async with picker("dgx-station-v100", size) as pilot:
        uncut(pilot.app.screen)
        assert_same(f"picker-{size[0]}x{size[1]}", text_of(pilot.app.screen))


async def test_snapshot_of_the_picker_without_data_and_runs(text_of, uncut):
    async with picker(data="", runs=[]) as pilot:
        uncut(pilot.app.screen)
        assert_same("picker-empty", text_of(pilot.app.screen))


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("width", [58, 80, 118])
@pytest.mark.parametrize("most", [1, 4])
def test_the_machine_fits_its_rows(name, width, most):
    rows = hardware_rows(machine(name), width, most)
    assert len(rows) <= most
    assert all(len(line) <= width for line in text(rows).splitlines())


def test_a_machine_with_room_tells_its_cores_memory_limit_disk_and_gpus():
    shown = text(hardware_rows(machine("m4-max-36"), 118, 4))
    for words in (
        "Apple M4 Max",
        "10 performance",
        "14 cores",
        "24.0 GB free of 36.0 GB",
        "27.0 GB shared",
        "32 cores",
    ):
        assert words in shown
    assert "20 cores (10 performance, 10 efficiency)" in text(hardware_rows(machine("dgx-spark"), 118, 4))
    shown = text(hardware_rows(machine("dgx-station-v100"), 118, 4))
    for words in ("4 × Tesla V100-DGXS-32GB 31.7 GB", "capability 7.0", "no bf16", "driver 535"):
        assert words in shown
    shown = text(hardware_rows(machine("container-4gb"), 118, 4))
    for words in (
        "limited to the time of 2",
        "limit 4.0 GB",
        "disk 40.0 GB free",
        "none: training runs on the",
    ):
        assert words in shown


def test_gpus_of_a_kind_are_named_once_with_how_many_there_are():
    (gpu, many), *others = grouped(machine("dgx-a100").accelerators)
    assert (gpu.name, many, others) == ("NVIDIA A100-SXM4-80GB", 8, [])
    one_line = text(hardware_rows(machine("dgx-a100"), 118, 1))
    assert "8 × NVIDIA A100-SXM4-80GB" in one_line


def test_before_the_engine_has_answered_one_line_says_so():
    assert "waiting for the engine" in text(hardware_rows(None, 80, 4))
    bare = Hardware(
        host="h", system="Linux", processor="CPU", cores=1, threads=1, memory_mb=1.0, memory_available_mb=1.0,
        disk_free_mb=1.0,
    )  # fmt: skip
    assert "1 core  ·" in text(hardware_rows(bare, 80, 1))
    assert "no GPU" in text(hardware_rows(bare, 80, 1))
