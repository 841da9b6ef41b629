from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from logbert_engine.evaluation.comparison import compare
from logbert_engine.evaluation.detections import Detector, Sample, sample_of
from logbert_engine.evaluation.manifest import Manifest
from logbert_engine.evaluation.page import render_page
from tests.evaluation.conftest import Draw

VOID = {"meta", "br", "link", "img"}


class Outline(HTMLParser):
    """Checks that tags are closed in order, and collects them with their text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.names: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names.extend(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names.extend(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page(sample: Sample, detectors: list[Detector], data: str = "drawn") -> tuple[str, Outline]:
    manifest = Manifest(
        inputs={"a<b>.json": "ab" * 32}, checkpoint="cd" * 32, split="later", seed=0, budget=0.001
    )
    found = compare(sample, detectors, data=data, resamples=30, manifest=manifest)
    text = render_page(found, sample, detectors)
    outline = Outline()
    outline.feed(text)
    outline.close()
    assert outline.open == []
    return text, outline


def test_the_page_needs_nothing_but_itself(draw: Draw) -> None:
    text, outline = page(*draw())
    assert not re.search(r"(https?:)?//\w", text)
    assert not {"script", "link", "img", "iframe"} & set(outline.tags)
    assert not any(name in ("src", "href") or name.startswith("on") for name, _ in outline.names)
    assert "@import" not in text
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_shows_figures_plots_floor_oracle_and_manifest(draw: Draw) -> None:
    text, outline = page(*draw())
    words = " ".join(outline.text)
    assert re.search(r"floor beaten: (yes|no)", words)
    assert outline.tags.count("figure") == 4
    assert "optimistic" in words
    assert "unique sequences" in words
    assert "cd" * 32 in words
    assert "Excluded from every figure: none." in words
    assert "nan" not in re.sub(r"<style>.*</style>", "", text, flags=re.S).lower().replace("finance", "")


def test_names_from_outside_are_escaped(draw: Draw) -> None:
    sample, detectors = draw()
    evil = "<script>alert('x')</script>&\""
    model = Detector(evil, "model", detectors[0].score, detectors[0].alarm)
    text, outline = page(sample, [model, *detectors[1:]], data=evil)
    assert "<script" not in text
    assert "script" not in outline.tags
    assert "a<b>.json" not in text
    assert evil in "".join(outline.text)


def test_curves_are_decimated(draw: Draw) -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(20_000) < 0.4).astype(np.int8)
    score = rng.normal(size=20_000) + label
    sample = sample_of(label, np.arange(20_000))
    text, _ = page(sample, [Detector("LogBERT", "model", score, score > 2.0)])
    lines = re.findall(r'<path class="line [^"]*" d="([^"]*)"', text)
    assert max(len(re.findall(r"[MLH]", line)) for line in lines) <= 500
    assert len(text) < 200_000


def test_without_times_there_is_no_plot_over_time(draw: Draw) -> None:
    sample, detectors = draw(timed=False)
    _, outline = page(sample, detectors)
    assert outline.tags.count("figure") == 3


@pytest.mark.parametrize("label", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]])
def test_a_page_is_made_of_whatever_there_is(label: list[int]) -> None:
    sample = sample_of(np.array(label, dtype=np.int8), np.arange(4), time=np.full(4, 1e9))
    for score in (np.zeros(4), np.array([np.inf, 1.0, -np.inf, 2.0])):
        page(sample, [Detector("LogBERT", "model", score, score > 1.0)])


def test_many_detectors_are_all_in_the_table_and_the_best_in_the_plots(draw: Draw) -> None:
    sample, detectors = draw()
    floors = [Detector(f"rule {i}", "floor", detectors[1].score, detectors[1].alarm) for i in range(9)]
    text, outline = page(sample, [*detectors, *floors])
    assert all(f"rule {i}" in " ".join(outline.text) for i in range(9))
    legend = text[text.index('<ul class="legend">') : text.index("</ul>")]
    assert legend.count("<li>") == 6
    assert legend.index("LogBERT") < legend.index("unseen event")
