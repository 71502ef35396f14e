"""Object masks drawn over their image."""

from __future__ import annotations

import numpy as np

from mmkd_ext.vos.masks import VOID, Palette, davis_palette


def overlay(
    image: np.ndarray, ids: np.ndarray, palette: Palette | None = None, alpha: float = 0.5
) -> np.ndarray:
    """Tint the objects of an image, each with a black contour of one pixel on its inner side.

    Args:
        image: (H, W, 3) uint8 RGB.
        ids: (H, W) uint8; background (0) and void (255) stay as they are.
        palette: RGB of 0..255 of each id; DAVIS's by default, and for ids beyond its end.
        alpha: Share of the colour inside an object, 0..1.

    Returns:
        Another image (H, W, 3) uint8.

    Raises:
        ValueError: Image and ids do not fit each other, or ``alpha`` is outside 0..1.
    """
    if image.shape != (*ids.shape, 3) or image.dtype != np.uint8 or ids.dtype != np.uint8:
        raise ValueError(
            "overlay: wants an image (H, W, 3) and ids (H, W), both uint8, not "
            f"{image.shape} {image.dtype} and {ids.shape} {ids.dtype}"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"overlay: alpha is a share between 0 and 1, not {alpha!r}")
    drawn = image.copy()
    objects = (ids != 0) & (ids != VOID)
    colours = np.array(complete(palette), dtype=np.float32)
    tinted = (1 - alpha) * image[objects] + alpha * colours[ids[objects]]
    drawn[objects] = np.rint(tinted).astype(np.uint8)
    drawn[contours(ids) & objects] = 0
    return drawn


def contours(ids: np.ndarray) -> np.ndarray:
    """Pixels beside which (left, right, above, below) there is another id, (H, W) bool."""
    across = ids[:, 1:] != ids[:, :-1]
    down = ids[1:] != ids[:-1]
    found = np.zeros(ids.shape, dtype=bool)
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found


def complete(palette: Palette | None) -> list[tuple[int, ...]]:
    """A palette of 256 colours: what is missing is taken from DAVIS's."""
    given = [tuple(int(level) for level in colour) for colour in palette or ()]
    return given[:256] + list(davis_palette()[len(given) :])
