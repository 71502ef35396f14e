"""Textures for the digit world: colourful backgrounds out of a random stream and nothing else.

Integers throughout (Pillow resizes bytes in fixed point), so that no machine's floating-point
library can change a pixel.

Shapes: H, W = height, width in pixels. All values are uint8, 0..255.
"""

from __future__ import annotations

import numpy as np

PAPER_LEVELS = (10, 110)  # dark
COLOUR_CONTRAST = 55  # how far a texture's two colours differ at most, in each channel


def background(random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Draw an image of two similar dark colours mixed by a random pattern, (H, W, 3)."""
    first = random.randint(*PAPER_LEVELS, size=3)
    second = first + random.randint(-COLOUR_CONTRAST, COLOUR_CONTRAST + 1, size=3)
    return mixture(random, first, second, height, width)


def mixture(
    random: np.random.RandomState, first: np.ndarray, second: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Draw an image of two colours, (3,) integers, mixed by a random pattern, (H, W, 3)."""
    pattern = PATTERNS[random.randint(len(PATTERNS))](random, height, width).astype(np.int64)
    # No pattern is drawn with a ruler: clouds over it, and every pixel has some grain.
    pattern = (2 * pattern + clouds(random, height, width)) // 3
    pattern = pattern[..., None]
    image = (first * (255 - pattern) + second * pattern + 127) // 255
    image += random.randint(-3, 4, size=(height, width, 1))
    return np.clip(image, 0, 255).astype(np.uint8)


def blob(random: np.random.RandomState, size: int) -> np.ndarray:
    """Draw the coverage of one shapeless spot, (size, size), 0 along the border."""
    grid = np.zeros((6, 6), dtype=np.uint8)
    grid[1:5, 1:5] = random.randint(0, 256, size=(4, 4))
    grid[2:4, 2:4] = random.randint(160, 256, size=(2, 2))
    smooth = enlarge(grid, size, size).astype(np.int64)
    return np.clip(128 + 4 * (smooth - 110), 0, 255).astype(np.uint8)


def enlarge(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarge (h, w) uint8 smoothly to (H, W)."""
    from PIL import Image

    resized = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def clouds(random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Draw value noise of four octaves, (H, W)."""
    total = np.zeros((height, width), dtype=np.int64)
    for cells, weight in ((3, 8), (6, 4), (12, 2), (24, 1)):
        grid = random.randint(0, 256, size=(cells, cells)).astype(np.uint8)
        total += weight * enlarge(grid, height, width).astype(np.int64)
    return (total // 15).astype(np.uint8)


def stripes(random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Draw soft parallel stripes in a random direction, (H, W)."""
    y, x = np.mgrid[:height, :width]
    direction = random.randint(-8, 9, size=2)
    if not direction.any():
        direction[0] = 1
    period = int(np.abs(direction).max()) * random.randint(8, 25)
    phase = (direction[0] * x + direction[1] * y) % period
    return (np.abs(2 * phase - period) * 255 // period).astype(np.uint8)


def checks(random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Draw a chessboard of a random grain, (H, W)."""
    y, x = np.mgrid[:height, :width]
    side, right, down = random.randint(6, 21), random.randint(20), random.randint(20)
    return (((x + right) // side + (y + down) // side) % 2 * 255).astype(np.uint8)


def speckles(random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Draw spots of a random grain, (H, W)."""
    cells = random.randint(10, 31)
    grid = random.randint(0, 256, size=(cells, cells)).astype(np.uint8)
    return enlarge(grid, height, width)


PATTERNS = (clouds, stripes, checks, speckles)
