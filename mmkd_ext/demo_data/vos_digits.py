"""The digit world in motion, in DAVIS 2017's form: clips with masks of every frame.

    vos_digits/JPEGImages/480p/<clip>/00000.jpg     128x128 (the folder's name is DAVIS's)
    vos_digits/Annotations/480p/<clip>/00000.png    palette; pixel value = object id, 0 = background
    vos_digits/ImageSets/2017/{train,val,test}.txt

One to three digits are objects. They move in straight lines, bounce, grow or shrink a little and
hide one another. Some clips have a digit that nobody asks for, a shapeless thing that passes in
front of all, or a background that moves. Unlike in DAVIS itself an object may enter later: it is
labelled from the frame in which most of it can be seen.

Each clip comes from a random stream of its own and holds digits of its split alone.

Shapes: H = W = SIZE pixels. Places and velocities are whole numbers of 1/UNIT pixels, so that no
machine's floating-point library can move a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from mmkd_ext.demo_data import digits, scenes, textures
from mmkd_ext.demo_data.scenes import SIZE, Picture, Scene, Sprite

SEED = 20241105
CLIPS = {"train": 64, "val": 16, "test": 32}
FRAMES = (12, 16)
OBJECTS = (1, 2, 2, 3)  # one of these is drawn for each clip
SIZES = (38, 46, 56)
UNIT = 4  # to the pixel
SPEED = (2 * UNIT, 5 * UNIT)  # a frame, along the faster axis: a first mask soon fits no longer
ENTRY_SPEED = (6 * UNIT, 9 * UNIT)
GROWTH = (85, 120)  # last size, in hundredths of the first
PAN = 2  # pixels a frame, at most, along each axis
OCCLUDER_SIZES = (36, 56)
SEEN = (2, 3)  # of an object's frames in which MIN_PIXELS or more must be seen
QUALITY = 95
ATTEMPTS = 400


@dataclass(frozen=True)
class Track:
    """Something that moves.

    Attributes:
        ink: RGB colour.
        start: Centre (x, y) when it begins, in 1/UNIT pixels.
        velocity: The same a frame.
        sizes: Side in the first and in the last frame, in pixels.
        source: Index of the digit in ``digits.load()``; None for what is no digit.
        shape: Coverage of what is no digit, (h, w) uint8; such a thing does not bounce.
        number: Id of the object; 0 for what is not labelled.
        begin: Frame in which it starts to move in; 0 for what is there from the start.
    """

    ink: tuple[int, int, int]
    start: tuple[int, int]
    velocity: tuple[int, int]
    sizes: tuple[int, int]
    source: int | None = None
    shape: np.ndarray | None = None
    number: int = 0
    begin: int = 0

    @property
    def enters(self) -> bool:
        """Whether it comes in from outside."""
        return min(self.start) < 0 or max(self.start) > SIZE * UNIT


@dataclass(frozen=True)
class Clip:
    """A background, (h, w, 3) uint8, the window's place on it in each frame, and what moves."""

    background: np.ndarray
    windows: tuple[tuple[int, int], ...]
    tracks: tuple[Track, ...]

    def __len__(self) -> int:
        return len(self.windows)


def write(folder: Path) -> None:
    """Write the dataset into an empty folder."""
    from PIL import Image

    from mmkd_ext.vos.masks import write_mask

    lists = folder / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    for split, count in CLIPS.items():
        names = [f"{split}-{index:03d}" for index in range(count)]
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
        for index, name in enumerate(names):
            images = folder / "JPEGImages" / "480p" / name
            images.mkdir(parents=True)
            for t, (picture, mask) in enumerate(render(clip(split, index))):
                image = Image.fromarray(picture)
                image.save(images / f"{t:05d}.jpg", quality=QUALITY, subsampling=0)
                write_mask(folder / "Annotations" / "480p" / name / f"{t:05d}.png", mask)


def clip(split: str, index: int) -> Clip:
    """Compose one clip; the same on every call and machine.

    It is drawn again until its objects can be seen: those of the first frame there, one that
    enters soon enough, and each in most of its frames.
    """
    # RandomState's stream is frozen by numpy's compatibility policy; default_rng's is not.
    random = np.random.RandomState([SEED, list(CLIPS).index(split), index])
    for _ in range(ATTEMPTS):
        made = _draw(random, split)
        if made is not None and _readable(made):
            return made
    raise RuntimeError(f"vos_digits: no clip {index} of {split} in {ATTEMPTS} attempts")


def render(clip: Clip) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw all frames: images, (H, W, 3) uint8, and masks of ids, (H, W) uint8."""
    pictures = [draw_frame(clip, t) for t in range(len(clip))]
    first = first_frames(clip, pictures)
    frames = []
    for t, picture in enumerate(pictures):
        # The last entry is the background's, which is what index NOTHING = -1 picks.
        ids = [
            track.number if first.get(i, t + 1) <= t else 0 for i, track in enumerate(clip.tracks)
        ]
        frames.append((picture.image, np.asarray([*ids, 0], dtype=np.uint8)[picture.owner]))
    return frames


def draw_frame(clip: Clip, t: int) -> Picture:
    """Draw one frame; a pixel's owner is an index into ``clip.tracks``."""
    y, x = clip.windows[t]
    window = clip.background[y : y + SIZE, x : x + SIZE]
    return scenes.render(Scene(window, tuple(sprite(track, t, len(clip)) for track in clip.tracks)))


def first_frames(clip: Clip, pictures: list[Picture]) -> dict[int, int]:
    """The frame from which each object is labelled, by its index in ``clip.tracks``."""
    first = {}
    for index, track in enumerate(clip.tracks):
        for t, picture in enumerate(pictures):
            if track.number and _mostly_seen(picture, index, sprite(track, t, len(clip))):
                first[index] = t
                break
    return first


def sprite(track: Track, t: int, frames: int) -> Sprite:
    """What a track looks like in frame ``t`` of a clip, and where it is."""
    begin, end = track.sizes
    size = begin + (end - begin) * t // max(frames - 1, 1)
    steps = t - track.begin
    x, y = (
        start + velocity * steps
        if track.shape is not None
        else bounced(start, velocity, steps, size * UNIT // 2)
        for start, velocity in zip(track.start, track.velocity, strict=True)
    )
    if track.shape is not None:
        coverage, label = track.shape, None
    else:
        coverage, label = _coverage(track.source, size), int(digits.load().labels[track.source])
    return Sprite(
        coverage, track.ink, x // UNIT - size // 2, y // UNIT - size // 2, label, track.source
    )


@lru_cache(maxsize=512)  # a clip is drawn twice, and most sizes last for several frames
def _coverage(source: int, size: int) -> np.ndarray:
    return scenes.coverage_of(digits.load().scans[source], size)


def bounced(start: int, velocity: int, steps: int, margin: int) -> int:
    """Where something is that moves between ``margin`` and ``SIZE * UNIT - margin``.

    What starts outside comes in first; before it begins (negative steps) it stays outside.
    """
    place = start + velocity * max(steps, 0)
    low, length = margin, SIZE * UNIT - 2 * margin
    if (start < 0 and place < low) or (start > SIZE * UNIT and place > low + length):
        return place
    offset = (place - low) % (2 * length)
    return low + min(offset, 2 * length - offset)


def _draw(random: np.random.RandomState, split: str) -> Clip | None:
    """Draw a clip; None where an ink does not stand out."""
    frames = random.randint(FRAMES[0], FRAMES[1] + 1)
    background, windows = _moving_background(random, frames)
    objects = OBJECTS[random.randint(len(OBJECTS))]
    others = int(random.randint(3) == 0)
    late = objects if objects > 1 and random.randint(2) == 0 else None
    inks = _inks(random, background, objects + others)
    if inks is None:
        return None
    tracks = [
        _digit(random, split, ink, number if number <= objects else 0, number == late)
        for number, ink in enumerate(inks, start=1)
    ]
    tracks = [tracks[i] for i in random.permutation(len(tracks))]
    if random.randint(2) == 0:
        tracks.append(_occluder(random, background, frames))
    return Clip(background, windows, tuple(tracks))


def _moving_background(
    random: np.random.RandomState, frames: int
) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """A background, and the window's place (y, x) on it in each frame; it rests in every second."""
    speeds = random.randint(-PAN, PAN + 1, size=2) * random.randint(2)
    travels = np.abs(speeds) * (frames - 1)
    background = textures.background(random, *(SIZE + travels).tolist())
    steps = np.arange(frames)[:, None]
    places = np.where(speeds < 0, travels + speeds * steps, speeds * steps)
    return background, tuple((int(y), int(x)) for y, x in places)


def _inks(
    random: np.random.RandomState, background: np.ndarray, count: int
) -> list[tuple[int, int, int]] | None:
    """Colours lighter than nearly all of the background, and apart from one another."""
    bright = np.percentile(scenes.luminance(background), 98, method="lower")
    inks: list[np.ndarray] = []
    for _ in range(20 * count):
        ink = random.randint(0, 256, size=3)
        apart = all(np.abs(ink - other).max() >= scenes.MIN_DISTANCE for other in inks)
        if apart and scenes.luminance(ink) - bright >= scenes.MIN_LIGHTER:
            inks.append(ink)
        if len(inks) == count:
            return [tuple(ink.tolist()) for ink in inks]
    return None


def _digit(
    random: np.random.RandomState, split: str, ink: tuple[int, int, int], number: int, late: bool
) -> Track:
    size = SIZES[random.randint(len(SIZES))]
    last = size * random.randint(GROWTH[0], GROWTH[1] + 1) // 100
    source = scenes.pick_digit(random, split)
    middle = random.randint(size // 2, SIZE - size // 2, size=2) * UNIT
    fast, sideways = random.randint(2), random.randint(-SPEED[1], SPEED[1] + 1)
    speed = random.randint(*(ENTRY_SPEED if late else SPEED)) * (2 * random.randint(2) - 1)
    begin = random.randint(0, 4) if late else 0
    start, velocity = middle.tolist(), [sideways, sideways]
    velocity[fast] = speed
    if late:
        outside = size * UNIT // 2 + UNIT
        start[fast] = -outside if speed > 0 else SIZE * UNIT + outside
    return Track(
        ink, tuple(start), tuple(velocity), (size, last), source, number=number, begin=begin
    )


def _occluder(random: np.random.RandomState, background: np.ndarray, frames: int) -> Track:
    """Something dark that crosses the image, in front of all."""
    size = random.randint(*OCCLUDER_SIZES)
    shape = textures.blob(random, size)
    ink = np.clip(background.mean(axis=(0, 1)).astype(np.int64) // 2 + 20, 0, 255)
    middle = SIZE * UNIT // 2
    velocity = random.randint(SPEED[0], SPEED[1] + 1, size=2) * (2 * random.randint(0, 2, 2) - 1)
    # In the middle of the image in the middle of the clip, or nearly so.
    start = middle + random.randint(-20, 21, size=2) * UNIT - velocity * (frames // 2)
    return Track(
        tuple(ink.tolist()),
        tuple(start.tolist()),
        tuple(velocity.tolist()),
        (size, size),
        shape=shape,
    )


def _readable(clip: Clip) -> bool:
    pictures = [draw_frame(clip, t) for t in range(len(clip))]
    first = first_frames(clip, pictures)
    for index, track in enumerate(clip.tracks):
        if not track.number:
            continue
        latest = len(clip) * 2 // 3 if track.enters else 0
        if index not in first or first[index] > latest:
            return False
        pixels = [int(picture.mask(index).sum()) for picture in pictures[first[index] :]]
        seen = sum(number >= scenes.MIN_PIXELS for number in pixels)
        if seen * SEEN[1] < len(pixels) * SEEN[0]:
            return False
    return True


def _mostly_seen(picture: Picture, index: int, sprite: Sprite) -> bool:
    visible = int(picture.mask(index).sum())
    whole = int((sprite.coverage >= scenes.SOLID).sum())
    fraction, of = scenes.MIN_VISIBLE
    return visible >= scenes.MIN_PIXELS and visible * of >= whole * fraction
