"""Dense tasks: test images with the truth and what teacher and students see, side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Rectangle
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd_ext.apis.demo import figures
from mmkd_ext.apis.demo.views import MIN_SCORE, Drawer

if TYPE_CHECKING:
    from mmkd_ext.apis.demo.summary import Summary

IMAGES = 6
NEEDS_TEACHER = True
HEADING = "What the networks see (seed {seed}, test split)"
ALT = "Test images with the truth and the predictions of teacher and students"
EVENLY = f"{IMAGES} images, taken at equal distances from the whole test split."
MAPS = (
    "Classes are coloured over the image in grey. The background is dark, and so is, in the truth, "
    "what counts for nothing: stains, and a rim around each digit."
)
INSTANCES = (
    f"What has a score of more than {MIN_SCORE} is drawn; behind a label stands the score in "
    "percent. A class's masks differ a little in colour, to tell them apart."
)
# Of the sheet, in pixels.
GAP, HEAD, LEFT, LEGEND = 8, 34, 26, 44


@dataclass
class Views:
    """What a network sees on the chosen images.

    Attributes:
        names: File name of each.
        truth: (s H, s W, 3) uint8, each image with its annotation.
        predicted: The same with what was predicted.
        legend: Names and RGB colours of the classes, where the drawing does not name them.
    """

    names: list[str] = field(default_factory=list)
    truth: list[np.ndarray] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    legend: list[tuple[str, tuple[int, int, int]]] = field(default_factory=list)


class Collector(Hook):
    """Draws the chosen images as a test comes to them."""

    def __init__(self) -> None:
        self.answers = Views()
        self._chosen: set[int] = set()
        self._seen = 0
        self._drawer: Drawer | None = None

    def before_test_epoch(self, runner: Runner) -> None:
        """Choose."""
        dataset = runner.test_dataloader.dataset
        self._chosen, self._seen = set(figures.evenly(IMAGES, len(dataset))), 0
        self._drawer = Drawer(dataset.metainfo)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the batch's share."""
        for sample in outputs:
            if self._seen in self._chosen:
                truth, predicted = self._drawer.draw(sample)
                self.answers.names.append(Path(sample.img_path).name)
                self.answers.truth.append(truth)
                self.answers.predicted.append(predicted)
                self.answers.legend = self._drawer.legend(sample)
            self._seen += 1


def note(summary: Summary) -> str:
    """What the sheet shows, and which images."""
    return f"{EVENLY} {MAPS if summary.stock_baseline[0].answers.legend else INSTANCES}"


def draw(summary: Summary) -> bytes:
    """The sheet of the first seed: a row an image; truth, teacher, student alone and distilled."""
    alone: Views = summary.stock_baseline[0].answers
    taught: Views = summary.stock_distilled[0].answers
    teacher: Views = summary.stock_teacher.answers
    columns = (
        ("truth", alone.truth, "black"),
        ("teacher", teacher.predicted, figures.TEACHER),
        ("student alone", alone.predicted, figures.BASELINE),
        ("student distilled", taught.predicted, figures.DISTILLED),
    )
    high, wide = alone.truth[0].shape[:2]
    width = LEFT + len(columns) * (wide + GAP)
    height = HEAD + len(alone.names) * (high + GAP) + (LEGEND if alone.legend else 0)
    sheet = figures.figure(width / figures.DPI, height / figures.DPI, layout=None)
    middle = {"ha": "center", "va": "center"}
    for column, (title, views, colour) in enumerate(columns):
        x = LEFT + column * (wide + GAP)
        place = ((x + wide / 2) / width, 1 - HEAD / 2 / height)
        sheet.text(*place, title, color=colour, fontsize=14, fontweight="bold", **middle)
        for row, view in enumerate(views):
            # To the pixel, so that nothing is resampled.
            y = height - HEAD - (row + 1) * high - row * GAP
            axes = sheet.add_axes((x / width, y / height, wide / width, high / height))
            axes.imshow(view, interpolation="nearest")
            axes.axis("off")
    for row, name in enumerate(alone.names):
        y = height - HEAD - row * (high + GAP) - high / 2
        sheet.text(LEFT / 2 / width, y / height, name, rotation=90, fontsize=10, **middle)
    for entry, (name, colour) in enumerate(alone.legend):
        x, side = LEFT + entry * (width - LEFT) / len(alone.legend), LEGEND / 2
        corner = (x / width, side / 2 / height)
        rgb = tuple(part / 255 for part in colour)
        patch = Rectangle(corner, side / width, side / height, facecolor=rgb)
        patch.set_transform(sheet.transFigure)
        sheet.add_artist(patch)
        place = ((x + 1.4 * side) / width, side / height)
        sheet.text(*place, name, fontsize=13, ha="left", va="center")
    return figures.png(sheet)
