"""Pictures of flow: where it is wrong, what its colours mean, panels side by side.

Shapes: H, W pixels. Flow is (H, W, 2) in pixels, images are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmkd_ext.flow.color import flow_to_color
from mmkd_ext.flow.metrics.functional import end_point_errors

UNKNOWN_GREY = 128  # neither flow_to_color nor the map of errors has this grey
SMALLEST = 256  # pixels of a panel's longer side; what is smaller is enlarged
NARROWEST = 300  # pixels that a title needs


class Panel(NamedTuple):
    """An image and what is written above it."""

    image: np.ndarray
    title: str


def error_map(
    pred: np.ndarray,
    gt: np.ndarray,
    valid: np.ndarray | None = None,
    max_error: float | None = None,
) -> np.ndarray:
    """The end-point error of each pixel as a colour: black is right, bright is wrong ("magma").

    Args:
        pred: (H, W, 2).
        gt: (H, W, 2).
        valid: (H, W) bool; elsewhere it is grey. None: known everywhere.
        max_error: In pixels, what gets the brightest colour; larger errors get it, too. None:
            :func:`usual_max_error` of these errors.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: Shapes that do not fit, values that are not finite at a valid pixel, or a
            ``max_error`` that is not positive.
    """
    errors = end_point_errors(pred, gt, valid)
    if max_error is None:
        max_error = usual_max_error(errors)
    elif not max_error > 0:
        raise ValueError(f"error_map: max_error is a length above 0, not {max_error!r}")
    height, width = np.shape(gt)[:2]
    drawn = np.full((height, width, 3), UNKNOWN_GREY, np.uint8)
    known = np.ones((height, width), bool) if valid is None else np.asarray(valid).astype(bool)
    drawn[known] = _magma(errors / max_error)
    return drawn


def usual_max_error(errors: np.ndarray) -> float:
    """The error in pixels that 99 % of (M,) ``errors`` do not exceed, and at least 0.1.

    The largest alone, often a single pixel at an edge, would leave all others black; where all is
    right, noise should not look like an error.
    """
    return max(float(np.percentile(errors, 99)), 0.1) if len(errors) else 0.1


def color_wheel(size: int) -> np.ndarray:
    """The colour of each direction and length, on a disk; the middle is no motion.

    Args:
        size: Its diameter in pixels, at least 3.

    Returns:
        (size, size, 3) uint8 RGB, white outside.

    Raises:
        ValueError: ``size`` is too small.
    """
    if size < 3:
        raise ValueError(f"color_wheel: a disk has a diameter of 3 pixels or more, not {size}")
    places = np.linspace(-1, 1, size)
    flow = np.stack(np.meshgrid(places, places), axis=2)
    return flow_to_color(flow, np.linalg.norm(flow, axis=2) <= 1, max_radius=1)


def compose(
    panels: Sequence[Panel], radius: float | None = None, max_error: float | None = None
) -> np.ndarray:
    """Panels of one size beside each other or in two rows, and on the right what colours mean.

    Pixels stay sharp: small panels are enlarged by a whole number, and none is ever shrunk.

    Args:
        panels: One to four.
        radius: Pixels of motion at the edge of the wheel; None: without a wheel.
        max_error: Pixels at the end of the error's colour bar; None: without a bar.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        ValueError: No panels, or of several sizes.
    """
    sizes = {panel.image.shape[:2] for panel in panels}
    if len(sizes) != 1:
        raise ValueError(f"compose: panels are of one size (H, W), not of {sorted(sizes)}")
    [(height, width)] = sizes
    times = max(1, -(-SMALLEST // max(height, width)))
    height, width = height * times, width * times
    cell = max(width, NARROWEST)
    font = _font(int(np.clip(cell / 36, 12, 26)))
    line = round(1.7 * font.size)
    gap = line // 3
    columns = _columns(len(panels), width / height)
    rows = -(-len(panels) // columns)
    legend = _legend(radius, max_error, rows * (height + line) - line + gap, font)
    canvas = Image.new(
        "RGB",
        (columns * (cell + gap) + gap + legend.width, line + legend.height),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    for position, (image, title) in enumerate(panels):
        row, column = divmod(position, columns)
        left, top = gap + column * (cell + gap), row * (height + line)
        draw.text((left + cell / 2, top + line / 2), title, "black", font, anchor="mm")
        enlarged = image.repeat(times, axis=0).repeat(times, axis=1)
        canvas.paste(Image.fromarray(enlarged), (left + (cell - width) // 2, top + line))
    canvas.paste(legend, (columns * (cell + gap) + gap, line))
    return np.asarray(canvas)


def _columns(panels: int, aspect: float) -> int:
    if panels == 4:
        return 2
    return 1 if aspect > 1.6 else panels


def _legend(
    radius: float | None, max_error: float | None, height: int, font: ImageFont.FreeTypeFont
) -> Image.Image:
    """The wheel above the colour bar, each with its scale; of ``height``, or what it takes."""
    if radius is None and max_error is None:
        return Image.new("RGB", (0, height), "white")
    size = int(np.clip(0.3 * height, 5 * font.size, 9 * font.size))
    line = round(1.5 * font.size)
    top = 0 if radius is None else size + 2 * line
    length = int(np.clip(height - top - 2 * line, size // 2, 2 * size))
    needed = top + 2 * line + length if max_error is not None else top
    legend = Image.new("RGB", (size + 2 * font.size, max(height, needed)), "white")
    draw = ImageDraw.Draw(legend)
    middle = legend.width // 2
    if radius is not None:
        legend.paste(Image.fromarray(color_wheel(size)), (middle - size // 2, 0))
        draw.text((middle, size + line / 2), f"rim {radius:.3g} px", "black", font, anchor="mm")
    if max_error is not None:
        draw.text((middle, top + line / 2), f"≥ {max_error:.3g} px", "black", font, anchor="mm")
        bar = np.linspace(1, 0, length)[:, None].repeat(size // 4, axis=1)
        legend.paste(Image.fromarray(_magma(bar)), (middle - size // 8, top + line))
        draw.text((middle, top + length + 1.5 * line), "0", "black", font, anchor="mm")
    return legend


def _magma(shares: np.ndarray) -> np.ndarray:
    return matplotlib.colormaps["magma"](shares.clip(0, 1), bytes=True)[..., :3]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)
