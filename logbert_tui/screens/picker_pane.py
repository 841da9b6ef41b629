"""The picker's pane of figures: one page at a time, with links to the others in its frame."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical

from logbert_tui.widgets.lines import Row
from logbert_tui.widgets.text_view import TextView

PAGES = ("estimate", "run.yaml", "data", "guide")


class DetailPane(Vertical):
    """Shows a page that scrolls.

    Args:
        make: From a page's name and a width in cells to its rows.
    """

    def __init__(self, make: Callable[[str, int], list[Row]]) -> None:
        super().__init__(id="detail", classes="panel")
        self._make = make
        self.page = PAGES[0]
        self._framed: tuple[str, list[str]] = ("", [])

    def compose(self) -> ComposeResult:
        """The page."""
        yield TextView(lambda width: self._make(self.page, width), id="figures")

    def renew(self, *, can_fit: bool, measuring: bool, top: bool = False) -> None:
        """Make the page again, and the links to what can be done now.

        Args:
            can_fit: whether there are settings that make the preset fit.
            measuring: whether a measurement is under way.
            top: from the page's top on.
        """
        self.query_one(TextView).renew(top=top)
        pages = (f"[bold reverse]{page}[/]" if page == self.page else page for page in PAGES)
        title = " ".join(_link(f"page('{page}')", text) for page, text in zip(PAGES, pages, strict=True))
        links = [_link("fit", "x make it fit")] if can_fit else []
        links.append(_link("measure", "m cancel" if measuring else "m measure"))
        if (title, links) != self._framed:  # a frame's text is painted with all that is in it
            self.border_title, self.border_subtitle = title, "  ".join(links)
            self._framed = (title, links)

    def page_from_here(self, by: int) -> str:
        """The page so many further, round and round."""
        return PAGES[(PAGES.index(self.page) + by) % len(PAGES)]

    def focus_page(self) -> None:
        """Have keys scroll the page."""
        self.query_one(TextView).focus()


def _link(action: str, text: str) -> str:
    return f"[@click=screen.{action}]{text}[/]"
