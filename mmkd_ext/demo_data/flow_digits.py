"""The digit world as pairs of images with exact optical flow, in FlyingChairs' form.

    flow_digits/data/<pair>_img1.ppm, <pair>_img2.ppm     192x256 (H x W); <pair> from 00001 on
    flow_digits/data/<pair>_flow.flo                      from the first to the second
    flow_digits/data/<pair>_occ1.png                      255 = occluded, else 0
    flow_digits/FlyingChairs_train_val.txt                a line a pair: 1 = train, 2 = val
    flow_digits/test/data/...                             likewise; all of it is for test

Three to six digits and perhaps a shapeless spot, each with a texture of its own, move, turn and
grow or shrink a little over a background that does so, too; about half of them go along with the
background besides. FlyingChairs itself has no test pairs and no masks of occlusion; the latter are
called as in FlyingChairsOcc.

Each pair comes from a random stream of its own and holds digits of its split alone. How a pair is
drawn, and how exactly: see ``layers.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmkd_ext.demo_data import digits, layers, scenes, textures
from mmkd_ext.demo_data.layers import Affine, Layer, Pair

SEED = 20250217
HEIGHT, WIDTH = 192, 256  # a network that works at an eighth of it still sees 24 x 32 places
PAIRS = {"train": 160, "val": 24, "test": 32}
TEST = "test"  # the split that has a folder of its own
SPLIT_FILE = "FlyingChairs_train_val.txt"
SPLIT_VALUES = {"train": 1, "val": 2}
DIGITS = (3, 6)  # from, to
SPOTS = (0, 1)
SIZES = (70, 86, 106)  # sides of a layer, in pixels; a digit's strokes are about an eighth
MARGIN = 20  # of the background around the image, in pixels: so it never ends in sight
UNIT = 8  # to the pixel: places and shifts are whole numbers of 1/UNIT
TURN_UNIT = 1000  # tangents of half an angle likewise
# At most: shift along each axis in 1/UNIT pixels, tangent of half the angle, zoom in hundredths.
BACKGROUND_MOTION = (10 * UNIT, 13, 3)  # 13 / 1000: 1.5 degrees
LAYER_MOTION = (16 * UNIT, 87, 10)  # 87 / 1000: 10 degrees
TILT = 130  # in the first image, at most: 15 degrees

DARK = (5, 75)  # channels of a background's darkest colour
CONTRAST = (30, 110)  # from a texture's one colour to the other, in each channel
LIGHTER = 80  # in luminance: a layer's lightest colour, than nearly all of the background
WHITEST = 245  # luminance
PATCH = 11  # pixels to a cell of the noise that patches come from
STEEPNESS = 6  # of their edges


def write(folder: Path, pairs: Mapping[str, int] = PAIRS) -> None:
    """Write the dataset into an empty folder.

    Args:
        folder: Where to.
        pairs: How many of each split, from its first on.
    """
    members = [(split, index) for split in SPLIT_VALUES for index in range(pairs[split])]
    values = "".join(f"{SPLIT_VALUES[split]}\n" for split, _ in members)
    (folder / SPLIT_FILE).write_text(values, encoding="utf-8")
    _write_pairs(folder / "data", members)
    _write_pairs(folder / TEST / "data", [(TEST, index) for index in range(pairs[TEST])])


def _write_pairs(folder: Path, members: list[tuple[str, int]]) -> None:
    from PIL import Image

    from mmkd_ext.flow.formats import write_flow

    folder.mkdir(parents=True)
    for number, (split, index) in enumerate(members, start=1):
        pair, name = render(split, index), f"{number:05d}"
        for which, image in enumerate(pair.images, start=1):
            Image.fromarray(image).save(folder / f"{name}_img{which}.ppm")
        write_flow(folder / f"{name}_flow.flo", pair.flow)
        Image.fromarray(pair.occluded.astype(np.uint8) * 255).save(folder / f"{name}_occ1.png")


def render(split: str, index: int) -> Pair:
    """Draw one pair; the same on every call and machine."""
    return layers.render(scene(split, index), (HEIGHT, WIDTH))


def scene(split: str, index: int) -> tuple[Layer, ...]:
    """Compose one pair: its background and the layers in front of it, lowest first."""
    # RandomState's stream is frozen by numpy's compatibility policy; default_rng's is not.
    random = np.random.RandomState([SEED, list(PAIRS).index(split), index])
    background = _background(random)
    bright = int(np.percentile(scenes.luminance(background.texture), 98, method="lower"))
    number = random.randint(DIGITS[0], DIGITS[1] + 1)
    sources = [scenes.pick_digit(random, split) for _ in range(number)]
    sources += [None] * random.randint(SPOTS[0], SPOTS[1] + 1)
    random.shuffle(sources)
    return (background, *(_layer(random, source, bright, background) for source in sources))


def _background(random: np.random.RandomState) -> Layer:
    dark = random.randint(*DARK, size=3)
    texture = _texture(random, dark, _contrast(random), HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN)
    centre = ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    place = Affine(x0=-MARGIN, y0=-MARGIN)
    return Layer(texture, place, _motion(random, centre, BACKGROUND_MOTION))


def _layer(
    random: np.random.RandomState, source: int | None, bright: int, background: Layer
) -> Layer:
    """Draw a digit, or a spot, lighter than ``bright``."""
    size = SIZES[random.randint(len(SIZES))]
    if source is None:
        coverage = textures.blob(random, size)
    else:
        coverage = scenes.coverage_of(digits.load().scans[source], size)
    ink = _ink(random, bright)
    texture = _texture(random, ink, -_contrast(random), size, size)
    x, y = (random.randint(0, length * UNIT) / UNIT for length in (WIDTH, HEIGHT))
    tilt = random.randint(-TILT, TILT + 1) / TURN_UNIT
    place = Affine.turn(((size - 1) / 2, (size - 1) / 2), (x, y), tilt)
    motion = _motion(random, (x, y), LAYER_MOTION)
    if random.randint(2):
        motion = background.motion.after(motion)
    return Layer(texture, place, motion, coverage, source)


def _texture(
    random: np.random.RandomState, colour: np.ndarray, contrast: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Draw a pattern with patches on it, colours from ``colour`` to that plus ``contrast``.

    The patches of each channel are its own, so that they are of eight colours. A chessboard or
    stripes alone would look the same a period further, and clouds nearly the same anywhere.
    """
    cells = height // PATCH, width // PATCH
    grids = random.randint(0, 256, size=(3, *cells)).astype(np.uint8)
    smooth = np.stack([textures.enlarge(grid, height, width) for grid in grids], axis=2)
    patches = np.clip(128 + STEEPNESS * (smooth.astype(np.int64) - 128), 0, 255)
    pattern = textures.mixture(random, colour, colour + contrast // 2, height, width)
    return np.clip(pattern + contrast // 2 * patches // 255, 0, 255).astype(np.uint8)


def _motion(
    random: np.random.RandomState, centre: tuple[float, float], most: tuple[int, int, int]
) -> Affine:
    shift, turn, zoom = most
    right, down = random.randint(-shift, shift + 1, size=2) / UNIT
    return Affine.turn(
        centre,
        (centre[0] + right, centre[1] + down),
        random.randint(-turn, turn + 1) / TURN_UNIT,
        random.randint(100 - zoom, 100 + zoom + 1) / 100,
    )


def _ink(random: np.random.RandomState, bright: int) -> np.ndarray:
    """Draw a colour that is lighter than ``bright``, where need be by mixing white into it."""
    ink = random.randint(0, 256, size=3)
    ink = 255 * ink // max(int(ink.max()), 1)
    luminance = int(scenes.luminance(ink))
    short = max(min(bright + LIGHTER, WHITEST) - luminance, 0)
    return ink + (255 - ink) * short // (256 - luminance)


def _contrast(random: np.random.RandomState) -> np.ndarray:
    return random.randint(CONTRAST[0], CONTRAST[1] + 1, size=3)
