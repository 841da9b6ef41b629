"""The evaluation as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from logbert_engine.evaluation import plots
from logbert_engine.evaluation.comparison import Comparison, Row, SliceFigures
from logbert_engine.evaluation.curves import threshold_of
from logbert_engine.evaluation.detections import Detector, Sample
from logbert_engine.evaluation.manifest import Manifest
from logbert_engine.evaluation.wording import (
    cautions,
    counts,
    excluded,
    facts,
    false_alarms,
    figure,
    measures,
    not_in,
    rate,
    span,
    title,
    verdict,
)

_STYLE = Path(__file__).with_name("page.css")

_HEADS = (
    ("F1", "harmonic mean of precision and recall"),
    ("precision", "share of the alarms that are anomalies"),
    ("recall", "share of the anomalies that alarm"),
    ("AP", "average precision: the area below precision over recall, whatever the threshold"),
    ("AUROC", "chance that an anomaly scores above a normal session"),
    ("MCC", "Matthews correlation of alarm and label"),
    ("accuracy", "share of the sessions judged rightly; high for anyone where anomalies are rare"),
    ("false alarms", "share of the normal sessions that alarm"),
    ("alarms a day", "over the span of the sessions' times"),
    ("@20", "precision among the 20 highest scores; equal scores in expectation"),
    ("@100", "precision among the 100 highest scores; equal scores in expectation"),
)


def render_page(
    comparison: Comparison,
    sample: Sample,
    detectors: Sequence[Detector],
    *,
    threshold: float | None = None,
) -> str:
    """The report.

    Args:
        comparison: the figures.
        sample: the sessions that they are of.
        detectors: what was compared.
        threshold: of the model's score; else it is read off its alarms where they are a cut of the score.

    Returns:
        A whole HTML document.
    """
    drawn = _drawn(comparison, detectors)
    model = drawn[0][0]
    heading = escape(title(comparison))
    body = [
        f"<header><h1>{heading}</h1></header>",
        _verdict(comparison),
        _about(comparison),
        "<main>",
        _whole(comparison),
        _charts(sample, drawn, threshold if threshold is not None else threshold_of(model)),
        _parts(comparison.slices[1:]),
        _oracle(comparison.slices[0]),
        _method(comparison),
        "" if comparison.manifest is None else _manifest(comparison.manifest),
        "</main>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{heading}</title>\n<style>\n{_STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _drawn(comparison: Comparison, detectors: Sequence[Detector]) -> plots.Drawn:
    """The model, the other models, and the floors by their F1, as many as can be told apart in a plot."""
    by_name = {detector.name: detector for detector in detectors}
    rows = comparison.slices[0].rows
    ranked = sorted(rows, key=lambda row: (row.kind == "floor", -(row.figures.f1 or 0.0)))
    ranked.sort(key=lambda row: row.detector != comparison.model)
    return [(by_name[row.detector], row.figures) for row in ranked[: plots.MOST_CURVES]]


def _about(comparison: Comparison) -> str:
    data = comparison.data
    lines = [" · ".join(facts(data)), excluded(data), *cautions(comparison)]
    return f'<p class="soft">{"<br>".join(map(escape, lines))}</p>'


def _verdict(comparison: Comparison) -> str:
    kind = "yes" if comparison.floor_beaten else "no"
    lines = [comparison.sentence, false_alarms(comparison)]
    words = "<br>".join(escape(line) for line in lines if line)
    return f'<div class="verdict {kind}"><strong>{verdict(comparison)}</strong>{words}</div>'


def _table(heads: Iterable[str], rows: Iterable[tuple[str, str, Iterable[str]]]) -> str:
    """A table of ready HTML: headings, then rows of (class, name, cells)."""
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    lines = [
        f'<tr class="{kind}"><th scope="row">{name}</th>{"".join(cells)}</tr>' for kind, name, cells in rows
    ]
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def _cell(value: str, below: str = "") -> str:
    return f"<td>{value}{f'<small>{below}</small>' if below else ''}</td>"


def _name(row: Row) -> str:
    return escape(row.detector) + (' <span class="soft">(floor)</span>' if row.kind == "floor" else "")


def _measures(row: Row) -> list[str]:
    return [_cell(escape(value), escape(interval)) for value, interval in measures(row)]


def _whole(comparison: Comparison) -> str:
    whole = comparison.slices[0]
    heads = ["detector", *(f'<abbr title="{escape(told)}">{name}</abbr>' for name, told in _HEADS)]
    sessions = [
        (
            row.kind,
            _name(row),
            [_cell(f"{n:,}", f"{weight} weighted" if weight else "") for n, weight in counts(row)],
        )
        for row in whole.rows
    ]
    return (
        "<h2>All sessions</h2>\n"
        f"<p>Thresholds saw no label. Below each figure stands its {comparison.level:.0%} interval.</p>\n"
        + _table(heads, ((row.kind, _name(row), _measures(row)) for row in whole.rows))
        + "\n<h2>Sessions by alarm and label</h2>\n"
        + _table(
            ["detector", "anomalies that alarm", "false alarms", "anomalies missed", "normals left alone"],
            sessions,
        )
    )


def _charts(sample: Sample, drawn: plots.Drawn, threshold: float | None) -> str:
    model = drawn[0][0]
    keys = '<span class="key blue"></span>{} <span class="key orange"></span>{}'
    charts = [
        _figure(
            "Precision and recall",
            plots.precision_recall_chart(sample, drawn),
            "Every threshold of each detector; the marker is where its own lies. "
            "Nearer to the upper right is better.",
        ),
        _figure(
            "ROC, with few false alarms spread out",
            plots.roc_chart(sample, drawn),
            "Read it at the share of false alarms that can be looked at. Nearer to the upper left is better.",
        ),
        _figure(
            f"Scores of {model.name}",
            plots.score_chart(sample, model, threshold),
            "The less the two overlap, the better. The outermost bars hold all that lies beyond."
            + (
                ""
                if threshold is not None
                else " The alarms are no cut of the score, so no threshold is drawn."
            ),
            keys.format("normal", "anomalous"),
        ),
    ]
    over_time = plots.time_chart(sample, model)
    if over_time is not None:
        charts.append(
            _figure(
                f"Alarms of {model.name} over time",
                over_time,
                "A rise of false alarms tells of drift: what is normal has changed.",
                keys.format("right alarms", "false alarms"),
            )
        )
    return f'<h2>Plots</h2>\n{plots.legend(drawn)}\n<div class="charts">\n{chr(10).join(charts)}\n</div>'


def _figure(title: str, chart: str, caption: str, key: str = "") -> str:
    return (
        f"<figure><h3>{escape(title)}</h3>\n{chart}\n"
        f"<figcaption>{escape(caption)}{f'<br>{key}' if key else ''}</figcaption></figure>"
    )


def _parts(parts: Sequence[SliceFigures]) -> str:
    heads = ["detector"]
    for part in parts:
        about = f"{part.sessions:,} sessions, {part.anomalies:,} anomalies"
        heads += [f"F1, {escape(part.title)}<br>{about}", "AP"]
    rows = []
    for group in zip(*(part.rows for part in parts), strict=True):
        cells = [
            _cell(figure(getattr(row.figures, name)), span(row.intervals.get(name)))
            for row in group
            for name in ("f1", "average_precision")
        ]
        rows.append((group[0].kind, _name(group[0]), cells))
    items = "".join(f"<li>{escape(not_in(part))}</li>" for part in parts)
    return (
        "<h2>Parts of the sessions</h2>\n<p>Data sets repeat themselves: a detector that knows the most common "
        "sequences can look better than it is. Among the unique sequences each counts once, with weight 1.</p>\n"
        + _table(heads, rows)
        + f'\n<ul class="soft">{items}</ul>'
    )


def _oracle(whole: SliceFigures) -> str:
    rows = [
        (row.kind, _name(row), [_cell(figure(row.figures.oracle_f1)), _cell(figure(row.figures.f1))])
        for row in whole.rows
    ]
    return (
        "<h2>Oracle F1: optimistic</h2>\n<p>The best F1 of any threshold, chosen by the labels themselves. "
        "Nobody has those labels in use, so this bounds what a better threshold could give; it is no result.</p>\n"
        + _table(["detector", "oracle F1 (optimistic)", "F1 at its own threshold"], rows)
    )


def _method(comparison: Comparison) -> str:
    return (
        "<h2>How it was measured</h2>\n<ul>"
        f"<li>Intervals: percentiles of {comparison.resamples:,} bootstrap resamples of the sessions (seed "
        f"{comparison.seed}). The threshold is held fixed: what another training would do is not in them. "
        "That of average precision runs high where sessions are few or normals weigh much.</li>"
        "<li>The floor are simple rules without a model. The best is chosen by its F1 here, which flatters the "
        "floor.</li><li>Sessions of equal score count in expectation: no figure depends on their order.</li>"
        "<li>A dash stands for what is undefined, such as precision without an alarm.</li></ul>"
    )


def _manifest(manifest: Manifest) -> str:
    rows = [("checkpoint", manifest.checkpoint)]
    rows += [(f"input {name}", digest) for name, digest in manifest.inputs.items()]
    rows += [("split", manifest.split), ("seed", str(manifest.seed))]
    if manifest.budget is not None:
        rows.append(("budget", rate(manifest.budget)))
    if manifest.threshold is not None:
        rows.append(("threshold", f"{manifest.threshold:g}"))
    rows += list(manifest.versions.items())
    return (
        "<details><summary>Manifest: what these figures follow from</summary>\n"
        + _table(
            ["what", "sha256 or value"],
            (
                ("", escape(name), [f'<td class="words"><code>{escape(value)}</code></td>'])
                for name, value in rows
            ),
        )
        + "\n</details>"
    )
