"""Pictures of what is distilled: the tapped maps of student and teacher, and their difference."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch import Tensor

from mmkd_ext.distill import Distiller
from mmkd_ext.distill.inputs import InputStats
from mmkd_ext.distill.probe import untouched_random_state
from mmkd_ext.distill.tap_spec import Structure, Tap
from mmkd_ext.registry import HOOKS

from .observing import distiller_of, preprocess, tap_values, undisturbed

_EXTRA_TOKENS = 5  # class, distillation and register tokens in front of a grid


@dataclass
class MapPair:
    """The mean of |activation| over channels at one pair of taps, for one image.

    Attributes:
        title: The loss and its taps.
        student: ``(H, W)``.
        teacher: ``(H', W')``; None where the loss hears no teacher.
    """

    title: str
    student: Tensor
    teacher: Tensor | None


@HOOKS.register_module()
class FeatureMapHook(Hook):
    """Draw, for one fixed image, what each loss compares: student, teacher, difference.

    One picture a time, ``feature_maps_<iteration>.png``, through the runner's visualizer (on disk
    ``<work dir>/<time>/vis_data/vis_image``), a row per loss. A map is the mean absolute activation
    over the channels; student and teacher share one scale, stated by the colour bar, and the
    difference is student minus teacher on a scale symmetric about zero. Takes convolutional maps
    ``(N, C, H, W)`` and tokens ``(N, L, D)`` on a square grid (tokens in front of the grid are left
    out); logits and other vectors have no picture, which is said once. Training is not disturbed.

    Args:
        interval: Every how many epochs or iterations, before the first step too.
        by_epoch: Whether ``interval`` counts epochs.
        index: Which image of the validation set (without one: of the training set).
        max_maps: At most so many rows.
    """

    priority = "VERY_LOW"

    def __init__(
        self, interval: int = 1, by_epoch: bool = True, index: int = 0, max_maps: int = 8
    ) -> None:
        if interval < 1 or max_maps < 1 or index < 0:
            raise ValueError("interval and max_maps must be at least 1, index at least 0")
        self.interval = interval
        self.by_epoch = by_epoch
        self.index = index
        self.max_maps = max_maps
        self._batch: Any = None
        self._said: set[str] = set()

    def before_train(self, runner: Any) -> None:
        """Fetch the image and draw the state before the first step."""
        distiller_of(runner, self)
        if not is_main_process():
            return
        loop = runner.val_loop or runner.train_loop
        dataset = loop.dataloader.dataset
        if self.index >= len(dataset):
            raise ValueError(
                f"FeatureMapHook: index={self.index}, but the dataset has {len(dataset)} images"
            )
        with untouched_random_state():
            self._batch = pseudo_collate([dataset[self.index]])
        self._draw(runner, runner.iter)

    def after_train_epoch(self, runner: Any) -> None:
        """Draw, if it is an epoch's turn."""
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._draw(runner, runner.iter)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Draw, if it is an iteration's turn."""
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self._draw(runner, runner.iter + 1)

    def _draw(self, runner: Any, step: int) -> None:
        if not is_main_process():
            return
        distiller = distiller_of(runner, self)
        try:
            with undisturbed(distiller):
                inputs, samples = preprocess(distiller, self._batch)
                values = tap_values(distiller, inputs, samples)
                pairs = []
                for term, student, teacher in values.terms(distiller):
                    pairs.extend(self._pairs(term, student, teacher))
                image = input_image(inputs[0], distiller)
        except Exception as error:
            # A picture is not worth a training; the reason is said.
            reason = (str(error).strip().splitlines() or [""])[0]
            self._say_once(f"no picture: {type(error).__name__}: {reason}", logging.WARNING)
            return
        if not pairs:
            self._say_once("no tap puts out a map, so there is nothing to draw", logging.WARNING)
            return
        if len(pairs) > self.max_maps:
            self._say_once(f"{len(pairs)} maps, of which the first {self.max_maps} are drawn")
        picture = draw_maps(image, pairs[: self.max_maps], f"iteration {step}")
        runner.visualizer.add_image("feature_maps", picture, step)

    def _pairs(self, term: Any, student: Any, teacher: Any) -> Iterator[MapPair]:
        """The maps of one loss, its taps and their firings in order."""
        ours = _outputs(term.taps.student, student)
        theirs = _outputs(term.taps.teacher, teacher)
        if theirs and len(theirs) != len(ours):
            self._say_once(
                f"losses[{term.name!r}] compares {len(ours)} outputs with {len(theirs)}; they do "
                "not pair up and are not drawn"
            )
            return
        for position, (tap, output) in enumerate(ours):
            other_tap, other = theirs[position] if theirs else (None, None)
            own = activation_map(output)
            its = activation_map(other) if theirs else None
            if own is None or (theirs and its is None):
                shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                self._say_once(f"{tap} ({shape}) is no map and is not drawn (loss {term.name})")
                continue
            names = tap if other_tap in (None, tap) else f"{tap} | {other_tap}"
            yield MapPair(f"{term.name}: {names}", own, its)

    def _say_once(self, text: str, level: int = logging.INFO) -> None:
        if text not in self._said:
            self._said.add(text)
            print_log(f"FeatureMapHook: {text}", logger="current", level=level)


def activation_map(output: Any) -> Tensor | None:
    """Mean of |activation| over the channels, for the first image.

    Args:
        output: ``(N, C, H, W)``, or ``(N, L, D)`` with L a square number after at most five tokens
            in front.

    Returns:
        ``(H, W)`` on the CPU, float32; None if there is no grid of at least 2 x 2.
    """
    if not isinstance(output, Tensor) or not output.is_floating_point():
        return None
    if output.ndim == 4 and min(output.shape[2:]) > 1:
        return output[0].detach().float().abs().mean(0).cpu()
    if output.ndim == 3:
        for extra in range(_EXTRA_TOKENS + 1):
            side = int(max(output.shape[1] - extra, 0) ** 0.5)
            if side > 1 and side * side == output.shape[1] - extra:
                tokens = output[0, extra:].detach().float().abs().mean(-1)
                return tokens.reshape(side, side).cpu()
    return None


def input_image(image: Tensor, distiller: Distiller) -> np.ndarray:
    """A preprocessed image ``(C, H, W)`` back to pixels: ``(H, W, 3)`` RGB, uint8."""
    pixels = image.detach().float().cpu()
    stats = InputStats.of(distiller.data_preprocessor)
    if stats is not None:
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (stats.mean, stats.std))
        pixels = pixels * std + mean
        if not stats.flip:  # images are read as BGR
            pixels = pixels.flip(0)
    else:
        low, high = pixels.min(), pixels.max()
        pixels = (pixels - low) / (high - low).clamp(min=1e-12) * 255
    pixels = pixels.expand(3, -1, -1) if pixels.shape[0] == 1 else pixels[:3]
    return pixels.round().clamp(0, 255).permute(1, 2, 0).to(torch.uint8).numpy()


def draw_maps(image: np.ndarray, pairs: list[MapPair], title: str) -> np.ndarray:
    """One row per pair: input, student, teacher, difference.

    Args:
        image: The input, ``(H, W, 3)`` uint8.
        pairs: What to draw; a teacher's map of another size is resized for the difference.
        title: Above the picture.

    Returns:
        ``(height, width, 3)`` RGB, uint8.
    """
    # Neither pyplot nor its global state: this runs inside other people's trainings.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 0.5 + 2.75 * len(pairs)), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(f"{title}: mean |activation| over the channels", fontsize=11)
    rows = figure.subfigures(len(pairs), 1, squeeze=False)[:, 0]
    for row, pair in zip(rows, pairs, strict=True):
        row.suptitle(pair.title, fontsize=9, family="monospace")
        axes = row.subplots(1, 4)
        for ax in axes:
            ax.set_xticks([])
            ax.set_yticks([])
        axes[0].imshow(image)
        axes[0].set_title(f"input {image.shape[1]} x {image.shape[0]}", fontsize=9)
        maps = [pair.student] if pair.teacher is None else [pair.student, pair.teacher]
        high = max(float(m.nan_to_num().max()) for m in maps) or 1.0
        for ax, name, values in zip(axes[1:], ("student", "teacher"), maps, strict=False):
            shown = ax.imshow(values.numpy(), cmap="viridis", vmin=0, vmax=high)
            ax.set_title(_title(name, values), fontsize=9)
        row.colorbar(shown, ax=axes[1 : 1 + len(maps)], shrink=0.85).ax.tick_params(labelsize=8)
        if pair.teacher is None:
            for ax in axes[2:]:
                ax.axis("off")
            continue
        size = pair.student.shape
        teacher = F.interpolate(pair.teacher[None, None], size, mode="bilinear")[0, 0]
        difference = pair.student - teacher
        high = float(difference.nan_to_num().abs().max()) or 1.0
        shown = axes[3].imshow(difference.numpy(), cmap="RdBu_r", vmin=-high, vmax=high)
        note = "" if pair.teacher.shape == size else " (resized)"
        axes[3].set_title(f"student - teacher{note}", fontsize=9)
        row.colorbar(shown, ax=axes[3], shrink=0.85).ax.tick_params(labelsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _title(name: str, values: Tensor) -> str:
    height, width = values.shape
    return f"{name} {width} x {height}, mean {float(values.mean()):.3g}"


def _outputs(structure: Structure, value: Any) -> list[tuple[str, Any]]:
    """Each output with its tap's name; a tap that fired several times has a list of outputs."""
    if structure is None:
        return []
    if isinstance(structure, Tap):
        if isinstance(value, list):
            return [(f"{structure}, call {i + 1}", item) for i, item in enumerate(value)]
        return [(str(structure), value)]
    keys = structure if isinstance(structure, dict) else range(len(structure))
    return [item for key in keys for item in _outputs(structure[key], value[key])]
