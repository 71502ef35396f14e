"""The report's pictures, drawn with matplotlib, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mmkd_ext.apis.demo.runs import Evaluation, Run

# Okabe and Ito's colours, which stay apart for colour-blind eyes and in grey.
TEACHER, BASELINE, DISTILLED = "#555555", "#D55E00", "#0072B2"
LOSSES = ("#009E73", "#CC79A7", "#56B4E9")
DPI = 110


def curves(teacher: Run, baseline: Sequence[Run], distilled: Sequence[Run]) -> bytes:
    """Accuracy, the students' own loss and the distillation losses; every seed and the mean."""
    figure = _figure(12.6, 3.8)
    accuracy, own, added = figure.subplots(1, 3)
    for runs, colour, name in (
        (baseline, BASELINE, "student alone"),
        (distilled, DISTILLED, "student distilled"),
    ):
        _lines(accuracy, [run.val_top1 for run in runs], colour, name)
        _lines(own, [run.student_loss for run in runs], colour, name)
    for loss, colour in zip(distilled[0].kd_losses, LOSSES, strict=False):
        _lines(added, [run.kd_losses[loss] for run in distilled], colour, loss)
    last = teacher.val_top1[-1][1]
    accuracy.axhline(last, color=TEACHER, linestyle="--", lw=1.2, label=f"teacher ({last:.1f})")
    accuracy.set(xlabel="epoch", ylabel="top-1 on the val split (%)", title="Accuracy")
    accuracy.set_ylim(0, 101)
    own.set(xlabel="epoch", ylabel="cross-entropy with the labels (nats)", title="Training loss")
    added.set(xlabel="epoch", ylabel="weighted loss", title="Distillation losses")
    for axes in (own, added):
        axes.set_yscale("log")
    for axes, place in ((accuracy, "lower right"), (own, "upper right"), (added, "upper right")):
        axes.legend(loc=place, frameon=False)
    return _png(figure)


def bars(baseline: Sequence[Run], distilled: Sequence[Run], teacher: Run) -> bytes:
    """Top-1 on the test split: a dot a seed, a bar for the mean and its standard deviation."""
    figure = _figure(5.2, 3.8)
    axes = figure.subplots()
    groups = (
        ("student\nalone", baseline, BASELINE),
        ("student\ndistilled", distilled, DISTILLED),
        ("teacher", [teacher], TEACHER),
    )
    low = 100.0
    for place, (_, runs, colour) in enumerate(groups):
        values = np.array([run.test_top1 for run in runs])
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        low = min(low, values.min(), values.mean() - spread)
        axes.bar(place, values.mean(), width=0.62, color=colour, alpha=0.85)
        if len(values) > 1:
            axes.errorbar(place, values.mean(), spread, color="black", capsize=5, linewidth=1.4)
        shift = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else np.zeros(1)
        axes.scatter(place + shift, values, s=24, color="white", edgecolor="black", zorder=3)
        top = max(values.max(), values.mean() + spread)
        axes.annotate(
            f"{values.mean():.1f}",
            (place, top),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontweight="bold",
        )
    axes.set_xticks(range(len(groups)), [name for name, _, _ in groups])
    axes.set(ylabel="top-1 on the test split (%)", title="Test accuracy")
    axes.set_ylim(max(0.0, low - 4), 101)
    return _png(figure)


def samples(baseline: Evaluation, distilled: Evaluation, count: int = 24) -> bytes:
    """Test images with what both students say; wrong answers are marked with a cross.

    Images on which the two disagree come first, then those both get wrong, then others; each kind
    is taken evenly from the whole split, so that no class is left out.
    """
    chosen = choose_samples(baseline, distilled, count)
    columns = 8
    rows = -(-len(chosen) // columns)
    figure = _figure(9.6, 1.75 * rows + 0.1)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, chosen, strict=False):
        image = np.asarray(Image.open(Path(distilled.images[index])).convert("L"))
        axes.imshow(255 - image, cmap="gray", vmin=0, vmax=255)
        label = distilled.labels[index]
        axes.set_title(f"digit {label}", fontsize=9, pad=3)
        for row, (name, answer, colour) in enumerate(
            (("alone", baseline, BASELINE), ("distilled", distilled, DISTILLED))
        ):
            right = answer.predicted[index] == label
            axes.text(
                0.5,
                -0.05 - 0.17 * row,
                f"{name} {answer.predicted[index]} {'✓' if right else '✗'}",
                transform=axes.transAxes,
                ha="center",
                va="top",
                fontsize=8.5,
                color=colour,
                fontweight="normal" if right else "bold",
            )
    return _png(figure)


def choose_samples(baseline: Evaluation, distilled: Evaluation, count: int) -> list[int]:
    """Indices of test images worth showing, at most ``count``."""
    labels = np.array(distilled.labels)
    alone = np.array(baseline.predicted) == labels
    taught = np.array(distilled.predicted) == labels
    kinds = (alone != taught, ~alone & ~taught, alone & taught)
    # Most room for disagreements, whichever way they go. A kind that does not fill its room leaves
    # it to the next; what is left in the end goes to all.
    limits = (count * 2 // 3, count * 5 // 6, count)
    chosen: list[int] = []
    for kind, limit in zip((*kinds, np.ones_like(alone)), (*limits, count), strict=True):
        members = np.setdiff1d(np.flatnonzero(kind), chosen)
        take = min(limit - len(chosen), len(members))
        places = np.linspace(0, len(members) - 1, take).round().astype(int) if take else []
        chosen += [int(members[place]) for place in places]
    return chosen


def _lines(
    axes: Axes, series: Sequence[Sequence[tuple[int, float]]], colour: str, name: str
) -> None:
    epochs = [epoch for epoch, _ in series[0]]
    values = np.array([[value for _, value in one] for one in series])
    for one in values:
        axes.plot(epochs, one, color=colour, alpha=0.3, linewidth=1)
    label = f"{name}, mean of {len(values)}" if len(values) > 1 else name
    marker = "o" if len(epochs) < 25 else None
    axes.plot(
        epochs, values.mean(axis=0), color=colour, linewidth=2, marker=marker, ms=4, label=label
    )


def _figure(width: float, height: float) -> Figure:
    """A figure in inches, outside pyplot, so that no display or global state is involved."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    return figure


def _png(figure: Figure) -> bytes:
    with matplotlib.rc_context({"font.size": 10}):
        for axes in figure.axes:
            if axes.axison:
                axes.spines[["top", "right"]].set_visible(False)
                axes.grid(axis="y", color="#dddddd", linewidth=0.8)
                axes.set_axisbelow(True)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()
