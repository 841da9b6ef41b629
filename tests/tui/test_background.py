from __future__ import annotations

import asyncio
import gc

from textual.app import App

from logbert_tui.background import in_background


async def test_of_work_that_is_replaced_before_it_begins_nothing_is_left_unawaited():
    began: list[int] = []
    done = asyncio.Event()

    async def work(number: int) -> None:
        began.append(number)
        done.set()

    async with App[None]().run_test() as pilot:
        in_background(pilot.app, work, 1, group="one", exclusive=True)
        in_background(pilot.app, work, 2, group="one", exclusive=True)
        await asyncio.wait_for(done.wait(), 10)
    gc.collect()  # a coroutine that was never awaited says so when it goes
    assert began == [2]
