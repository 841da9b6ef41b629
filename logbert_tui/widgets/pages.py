"""Rows of a long list, fetched by the page as they come into view; a bounded number of pages is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Generic, TypeVar

from logbert_engine.protocol.errors import LogbertError

Item = TypeVar("Item")

PAGE_ROWS = 200
KEPT_PAGES = 50


class Pages(Generic[Item]):
    """Items by their index, of which only those around the view are held.

    Args:
        fetch: Gives the items from an index on, at most so many.
        run: Starts a coroutine in the background (a widget's ``run_worker``), so that it ends with it.
        arrived: Called when a page has come.
        failed: Called with the error when a page could not be had. The page is asked for again when it
            next comes into view.
        most_pages: Pages to keep; those looked at longest ago go first.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], Awaitable[Sequence[Item]]],
        run: Callable[[Coroutine[None, None, None]], object],
        arrived: Callable[[], None],
        failed: Callable[[LogbertError], None],
        most_pages: int = KEPT_PAGES,
    ) -> None:
        self.fetch = fetch
        self._run, self._arrived, self._failed = run, arrived, failed
        self._pages: OrderedDict[int, Sequence[Item]] = OrderedDict()
        self._coming: set[int] = set()
        self._most_pages = most_pages
        self.count = 0

    def put(self, first: int, items: Sequence[Item]) -> None:
        """Take in a page that came with another answer; ``first`` is a multiple of ``PAGE_ROWS``."""
        self._pages[first // PAGE_ROWS] = items
        while len(self._pages) > self._most_pages:
            self._pages.popitem(last=False)

    def get(self, index: int) -> Item | None:
        """The item, or None while it is not here."""
        page = self._pages.get(index // PAGE_ROWS)
        if page is None:
            return None
        place = index % PAGE_ROWS
        return page[place] if place < len(page) else None

    def request(self, first: int, last: int) -> None:
        """Fetch the pages of items ``first`` to ``last`` (without it) that are missing."""
        for number in range(first // PAGE_ROWS, (max(first, last - 1)) // PAGE_ROWS + 1):
            if number in self._pages:
                self._pages.move_to_end(number)
            elif number not in self._coming and number * PAGE_ROWS < self.count:
                self._coming.add(number)
                self._run(self._load(number))

    def renew(self, index: int) -> None:
        """Fetch the page of an item again, which is shown until then; the others when they come into view."""
        number = index // PAGE_ROWS
        self._pages = OrderedDict((n, page) for n, page in self._pages.items() if n == number)
        if number not in self._coming:
            self._coming.add(number)
            self._run(self._load(number))

    async def _load(self, number: int) -> None:
        try:
            items = await self.fetch(number * PAGE_ROWS, PAGE_ROWS)
        except LogbertError as error:
            self._failed(error)
        else:
            self.put(number * PAGE_ROWS, items)
            self._arrived()
        finally:
            self._coming.discard(number)
