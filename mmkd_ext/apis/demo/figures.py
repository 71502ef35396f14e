"""The report's bars and curves, drawn with matplotlib, as PNG bytes; what its pictures share."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmkd_ext.apis.demo.task import Metric

if TYPE_CHECKING:
    from mmkd_ext.apis.demo.runs import Run
    from mmkd_ext.apis.demo.summary import Summary
    from mmkd_ext.apis.demo.watch import Points

# Okabe and Ito's colours, which stay apart for colour-blind eyes and in grey.
TEACHER, BASELINE, DISTILLED = "#555555", "#D55E00", "#0072B2"
LOSSES = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DPI = 110


def curves(summary: Summary) -> bytes:
    """The metric, the students' own loss and the distillation losses; every seed and the mean."""
    task, metric = summary.task, summary.task.metric
    drawing = figure(12.6, 3.8)
    score, own, added = drawing.subplots(1, 3)
    for runs, colour, name in (
        (summary.baseline, BASELINE, "student alone"),
        (summary.distilled, DISTILLED, "student distilled"),
    ):
        _lines(score, [run.val[metric.name] for run in runs], colour, name)
        _lines(own, [run.student_loss for run in runs], colour, name)
    terms = [grouped(run.kd_losses) for run in summary.distilled]
    for loss, colour in zip(terms[0], itertools.cycle(LOSSES), strict=False):
        _lines(added, [one[loss] for one in terms], colour, loss)
    last = summary.teacher.val[metric.name][-1][1]
    score.axhline(last, color=TEACHER, linestyle="--", lw=1.2, label=f"teacher ({last:.1f})")
    score.set(xlabel="epoch", ylabel=f"{metric.title} on the val split (%)", title=metric.heading)
    score.set_ylim(0, min(101, 1.05 * score.dataLim.y1 + 2))
    own.set(xlabel="epoch", ylabel=task.own_loss, title="Training loss")
    added.set(xlabel="epoch", ylabel="weighted loss", title="Distillation losses")
    for axes in (own, added):
        axes.set_yscale("log")
    for axes in (score, own, added):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes, place in ((score, "lower right"), (own, "upper right"), (added, "upper right")):
        axes.legend(loc=place, frameon=False)
    return png(drawing)


def bars(summary: Summary) -> bytes:
    """Metrics on the test split: a dot a seed, a bar for the mean and its standard deviation."""
    metrics = summary.task.metrics
    drawing = figure(5.2 * len(metrics), 3.8)
    panels = drawing.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        _bars(axes, metric, summary)
    return png(drawing)


def grouped(losses: dict[str, Points]) -> dict[str, Points]:
    """Losses of one family (``mgd_0``, ``mgd_1`` ... of a brace tap) as their sum."""
    families: dict[str, list[Points]] = {}
    for name, points in losses.items():
        families.setdefault(re.sub(r"_\d+(?=_|$)", "", name), []).append(points)
    return {
        name if len(members) == 1 else f"{name}, sum of {len(members)}": [
            (group[0][0], sum(value for _, value in group)) for group in zip(*members, strict=True)
        ]
        for name, members in families.items()
    }


def evenly(count: int, total: int) -> list[int]:
    """At most ``count`` of ``total`` indices, at equal distances, the first and last among them."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()


def figure(width: float, height: float, layout: str | None = "constrained") -> Figure:
    """A figure in inches, outside pyplot, so that no display or global state is involved."""
    return Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")


def png(drawing: Figure, **options: Any) -> bytes:
    """A figure's file; ``options`` as for ``Figure.savefig``."""
    with matplotlib.rc_context({"font.size": 10}):
        for axes in drawing.axes:
            if axes.axison:
                axes.spines[["top", "right"]].set_visible(False)
                axes.grid(axis="y", color="#dddddd", linewidth=0.8)
                axes.set_axisbelow(True)
        buffer = io.BytesIO()
        drawing.savefig(buffer, format="png", **options)
    return buffer.getvalue()


def _bars(axes: Axes, metric: Metric, summary: Summary) -> None:
    groups: tuple[tuple[str, Sequence[Run], str], ...] = (
        ("student\nalone", summary.baseline, BASELINE),
        ("student\ndistilled", summary.distilled, DISTILLED),
        ("teacher", [summary.teacher], TEACHER),
    )
    low, high = 100.0, 0.0
    for place, (_, runs, colour) in enumerate(groups):
        values = np.array([run.test[metric.name] for run in runs])
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        top = max(values.max(), values.mean() + spread)
        low, high = min(low, values.min(), values.mean() - spread), max(high, top)
        axes.bar(place, values.mean(), width=0.62, color=colour, alpha=0.85)
        if len(values) > 1:
            axes.errorbar(place, values.mean(), spread, color="black", capsize=5, linewidth=1.4)
        shift = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else np.zeros(1)
        axes.scatter(place + shift, values, s=24, color="white", edgecolor="black", zorder=3)
        axes.annotate(
            f"{values.mean():.1f}",
            (place, top),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontweight="bold",
        )
    axes.set_xticks(range(len(groups)), [name for name, _, _ in groups])
    axes.set(ylabel=f"{metric.title} on the test split (%)", title=metric.test_heading)
    low = max(0.0, low - 4)
    axes.set_ylim(low, min(101, high + max(0.08 * (high - low), 1)))


def _lines(axes: Axes, series: Sequence[Points], colour: str, name: str) -> None:
    epochs = [epoch for epoch, _ in series[0]]
    values = np.array([[value for _, value in one] for one in series])
    for one in values:
        axes.plot(epochs, one, color=colour, alpha=0.3, linewidth=1)
    label = f"{name}, mean of {len(values)}" if len(values) > 1 else name
    marker = "o" if len(epochs) < 25 else None
    axes.plot(
        epochs, values.mean(axis=0), color=colour, linewidth=2, marker=marker, ms=4, label=label
    )
