"""The digit world: real digits in several sizes on textured backgrounds, hiding one another.

A :class:`Scene` is a background and sprites, drawn in order, so that a later one hides parts of the
earlier ones. A sprite keeps its whole shape and its place, which may lie partly outside: a moving
world is the same scene with other places (``dataclasses.replace(sprite, x=...)``).

:func:`scene` composes the stills. Each comes from a random stream of its own, so that any of them
can be made alone, and holds digits of its split alone. The place, size and ink of a digit are drawn
again until it can be told from what it covers and leaves enough of the digits below it, so that
whatever can be seen of a digit is labelled.

Shapes: H = W = SIZE pixels; h, w = a sprite's height and width. Colours are RGB, uint8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mmkd_ext.demo_data import digits, textures

SIZE = 128
SEED = 20240311
PNG_LEVEL = 1  # zlib's fastest: a quarter of its default time, for a tenth more bytes
IMAGES = {"train": 800, "val": 100, "test": 200}
# One of these is drawn for each image: one in twelve is empty.
DIGITS_PER_IMAGE = (0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7)
SPRITE_SIZES = (32, 38, 46, 56)  # sides, in equal ratios; the strokes fill about 8/10 of the height
MARGIN = 1  # rows and columns of paper around a scan's 8x8, so that strokes end roundly
STAIN_SIZES = (30, 60)
STAIN_CONTRAST = 40  # in each channel, either way: fainter than ink
MIN_VISIBLE = (7, 10)  # of a digit's pixels, as a fraction: less, and an 8 may look like a 3
MIN_PIXELS = 60
# Ink is lighter than paper, as all digits of one kind of scan are: with either polarity, a network
# trained for minutes on a CPU learns little but to tell ink from paper.
MIN_LIGHTER = 50  # in luminance, of 255
MIN_DISTANCE = 80  # in some channel, between ink and what it is drawn on: other digits, mostly
FEW = 20  # one pixel in so many may fall short of the two
ATTEMPTS = 60  # to place a digit; then the image goes without it
SOLID = 128  # coverage from which a pixel belongs to a sprite
NOTHING = -1  # owner of a pixel that shows the background


@dataclass(frozen=True)
class Sprite:
    """One thing in a scene.

    Attributes:
        coverage: (h, w) uint8, 0 = transparent, 255 = opaque.
        ink: RGB colour.
        x: Column of its left edge in the image, in pixels; may be negative.
        y: Row of its upper edge, likewise.
        label: 0..9, or None for a stain, which is no digit.
        source: Index of the digit in ``digits.load()``, None for a stain.
    """

    coverage: np.ndarray
    ink: tuple[int, int, int]
    x: int
    y: int
    label: int | None = None
    source: int | None = None


@dataclass(frozen=True)
class Scene:
    """A background, (H, W, 3) uint8, and the sprites on it, lowest first."""

    background: np.ndarray
    sprites: tuple[Sprite, ...] = ()


@dataclass(frozen=True)
class Picture:
    """What a scene looks like.

    Attributes:
        image: (H, W, 3) uint8.
        owner: (H, W) int16, index of the sprite each pixel shows, or NOTHING.
    """

    image: np.ndarray
    owner: np.ndarray

    def mask(self, sprite: int) -> np.ndarray:
        """Return the visible pixels of a sprite, (H, W) bool."""
        return self.owner == sprite


def scenes(split: str) -> Iterator[Scene]:
    """Yield the stills of 'train', 'val' or 'test', in order."""
    for index in range(IMAGES[split]):
        yield scene(split, index)


def scene(split: str, index: int) -> Scene:
    """Compose one still; the same on every call and machine."""
    # RandomState's stream is frozen by numpy's compatibility policy; default_rng's is not.
    random = np.random.RandomState([SEED, list(IMAGES).index(split), index])
    background = textures.background(random, SIZE, SIZE)
    sprites = [_stain(random, background)] if random.randint(3) == 0 else []
    picture = render(Scene(background, tuple(sprites)))
    for _ in range(DIGITS_PER_IMAGE[random.randint(len(DIGITS_PER_IMAGE))]):
        source = pick_digit(random, split)
        for _ in range(ATTEMPTS):
            sprite = _place(random, source, background, picture.image)
            if sprite and _all_readable([*sprites, sprite], picture.owner):
                sprites.append(sprite)
                picture = render(Scene(background, tuple(sprites)))
                break
    return Scene(background, tuple(sprites))


def render(scene: Scene) -> Picture:
    """Draw the sprites in order; what lies outside the image is cut off."""
    image = scene.background.astype(np.int32)
    owner = np.full(image.shape[:2], NOTHING, dtype=np.int16)
    for index, sprite in enumerate(scene.sprites):
        there, part = _overlap(sprite, owner.shape)
        coverage = sprite.coverage[part].astype(np.int32)
        ink = np.asarray(sprite.ink, dtype=np.int32)
        weight = coverage[..., None]
        image[there] = (weight * ink + (255 - weight) * image[there] + 127) // 255
        owner[there][coverage >= SOLID] = index
    return Picture(image.astype(np.uint8), owner)


def _overlap(
    sprite: Sprite, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where a sprite lies in an image of this shape, and which part of it lies there."""
    there, part = [], []
    for start, length, limit in zip(
        (sprite.y, sprite.x), sprite.coverage.shape, shape, strict=True
    ):
        low = min(max(start, 0), limit)
        high = max(min(start + length, limit), low)
        there.append(slice(low, high))
        part.append(slice(low - start, high - start))
    return tuple(there), tuple(part)


def _stain(random: np.random.RandomState, background: np.ndarray) -> Sprite:
    """Draw something faint that is neither background nor digit."""
    size = random.randint(*STAIN_SIZES)
    x, y = random.randint(0, SIZE - size + 1, size=2)
    middle = background[y + size // 2, x + size // 2].astype(np.int64)
    shift = STAIN_CONTRAST * (2 * random.randint(2) - 1) + random.randint(-20, 21, size=3)
    ink = np.clip(middle + shift, 0, 255)
    return Sprite(textures.blob(random, size), tuple(ink.tolist()), int(x), int(y))


def pick_digit(random: np.random.RandomState, split: str) -> int:
    """Draw a digit of a split; return its index in ``digits.load()``."""
    source = digits.load()
    members = source.splits[split]
    # By class first: every class is equally frequent, whatever the split holds.
    of_class = members[source.labels[members] == random.randint(digits.NUM_CLASSES)]
    return int(of_class[random.randint(len(of_class))])


def _place(
    random: np.random.RandomState, source: int, background: np.ndarray, image: np.ndarray
) -> Sprite | None:
    """Draw size, place and ink of a digit; None where this ink does not stand out there.

    Args:
        random: The scene's random stream.
        source: Index of the digit.
        background: The scene's, (H, W, 3).
        image: The scene so far, (H, W, 3).
    """
    data = digits.load()
    size = SPRITE_SIZES[random.randint(len(SPRITE_SIZES))]
    x, y = random.randint(0, SIZE - size + 1, size=2).tolist()
    ink = random.randint(0, 256, size=3)
    coverage = coverage_of(data.scans[source], size)
    window = (slice(y, y + size), slice(x, x + size))
    inked = coverage > 0  # the soft edge too: it meets the surround
    lighter = luminance(ink) - luminance(background[window][inked])
    distance = np.abs(image[window][inked] - ink).max(axis=1)
    few = len(distance) // FEW
    if (lighter < MIN_LIGHTER).sum() > few or (distance < MIN_DISTANCE).sum() > few:
        return None
    return Sprite(coverage, tuple(ink.tolist()), x, y, int(data.labels[source]), source)


def coverage_of(scan: np.ndarray, size: int) -> np.ndarray:
    """Enlarge an (8, 8) scan to the coverage of a sprite, (size, size) uint8."""
    smooth = textures.enlarge(np.pad(scan, MARGIN), size, size).astype(np.int64)
    # Steeper, with faint strokes in: a scan's thin strokes reach about half of its levels.
    return np.clip(SOLID + 3 * (smooth - 100), 0, 255).astype(np.uint8)


def luminance(colours: np.ndarray) -> np.ndarray:
    """Return the luminance (ITU-R BT.601) of (..., 3) colours, (...) int64."""
    return (colours.astype(np.int64) @ np.asarray([299, 587, 114])) // 1000


def _all_readable(sprites: list[Sprite], owner: np.ndarray) -> bool:
    """Whether enough of every digit shows once the last sprite is drawn over `owner`."""
    there, part = _overlap(sprites[-1], owner.shape)
    owner = owner.copy()
    owner[there][sprites[-1].coverage[part] >= SOLID] = len(sprites) - 1
    visible = np.bincount(owner.ravel() + 1, minlength=len(sprites) + 1)[1:]  # without NOTHING
    fraction, of = MIN_VISIBLE
    for sprite, pixels in zip(sprites, visible.tolist(), strict=True):
        whole = int((sprite.coverage >= SOLID).sum())
        if sprite.label is not None and (pixels < MIN_PIXELS or pixels * of < whole * fraction):
            return False
    return True
