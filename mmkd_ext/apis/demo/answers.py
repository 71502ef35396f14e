"""Classification: test images with what both students say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from mmkd_ext.apis.demo import figures

if TYPE_CHECKING:
    from mmkd_ext.apis.demo.summary import Summary

NEEDS_TEACHER = False
HEADING = "What the two students say (seed {seed}, test split)"
ALT = "Test images with the answers of both students"


@dataclass
class Answers:
    """What was predicted in a test.

    Attributes:
        images: Path of each test image, in the dataset's order.
        labels: Its class.
        predicted: The class with the highest score.
    """

    images: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)


class Collector(Hook):
    """Takes down what is predicted in a test."""

    def __init__(self) -> None:
        self.answers = Answers()

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Take down a batch."""
        for sample in outputs:
            self.answers.images.append(sample.img_path)
            self.answers.labels.append(int(sample.gt_label))
            self.answers.predicted.append(int(sample.pred_label))


def note(summary: Summary) -> str:
    """What the picture shows, and which images."""
    return (
        "✗ and bold: wrong. Chosen to show differences: images on which the students disagree "
        "come first, then images that both get wrong, then others."
    )


def draw(summary: Summary, count: int = 24) -> bytes:
    """Test images with the answers of the first seed's students; a cross marks the wrong ones.

    Images on which the two disagree come first, then those both get wrong, then others; each kind
    is taken evenly from the whole split, so that no class is left out.
    """
    baseline: Answers = summary.stock_baseline[0].answers
    distilled: Answers = summary.stock_distilled[0].answers
    chosen = choose_samples(baseline, distilled, count)
    columns = 8
    rows = -(-len(chosen) // columns)
    figure = figures.figure(9.6, 1.75 * rows + 0.1)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, chosen, strict=False):
        image = np.asarray(Image.open(Path(distilled.images[index])).convert("L"))
        axes.imshow(255 - image, cmap="gray", vmin=0, vmax=255)
        label = distilled.labels[index]
        axes.set_title(f"digit {label}", fontsize=9, pad=3)
        for row, (name, answer, colour) in enumerate(
            (
                ("alone", baseline, figures.BASELINE),
                ("distilled", distilled, figures.DISTILLED),
            )
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
    return figures.png(figure)


def choose_samples(baseline: Answers, distilled: Answers, count: int) -> list[int]:
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
        chosen += [int(members[place]) for place in figures.evenly(take, len(members))]
    return chosen
