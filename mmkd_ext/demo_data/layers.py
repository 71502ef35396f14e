"""Textured layers that move affinely: two images of them, and the exact flow between these.

A layer's content lies on a grid of texels and stands for a continuous picture: its colours between
the texels are interpolated, its outline is the level SOLID of its interpolated coverage. Both
images are drawn from it directly, at the inverse of the layer's map, so that nothing is warped from
one to the other and the flow of a layer is its motion, without any error of interpolation.

Each pixel is the mean of SAMPLES x SAMPLES points, of which each shows the topmost layer there.

Points are (x, y) in pixels, x to the right, y downwards; pixel and texel centres are whole numbers.
Shapes: H, W = height, width of an image; h, w = of a layer's grid. Colours are RGB, uint8.

Maps and flow are float64 and need +, -, *, / alone, element by element, whose results IEEE 754 lays
down; colours are fixed-point integers. So every machine draws the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmkd_ext.demo_data.scenes import NOTHING, SOLID

SAMPLES = 2  # along each side of a pixel
STEPS = 32  # to the texel: where between two of them a point lies, for interpolation
BITS = 20  # for the sum of a pixel's samples, which is at most 255 * STEPS**2 * SAMPLES**2


@dataclass(frozen=True)
class Affine:
    """The map (x, y) -> (xx x + xy y + x0, yx x + yy y + y0)."""

    xx: float = 1.0
    xy: float = 0.0
    yx: float = 0.0
    yy: float = 1.0
    x0: float = 0.0
    y0: float = 0.0

    @classmethod
    def turn(
        cls,
        centre: tuple[float, float],
        target: tuple[float, float],
        half_tangent: float = 0.0,
        zoom: float = 1.0,
    ) -> Affine:
        """Turn and zoom about ``centre``, which moves to ``target``.

        Args:
            centre: A point (x, y).
            target: Where it goes.
            half_tangent: Tangent of half the angle, clockwise as seen. The sine and the cosine are
                rational in it; those of C libraries differ by a last bit.
            zoom: Factor of all lengths.
        """
        square = half_tangent * half_tangent
        cosine = zoom * (1 - square) / (1 + square)
        sine = zoom * 2 * half_tangent / (1 + square)
        (x, y), (to_x, to_y) = centre, target
        return cls(
            cosine, -sine, sine, cosine, to_x - cosine * x + sine * y, to_y - sine * x - cosine * y
        )

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map points; the two arrays need only broadcast, as a row and a column do."""
        return self.xx * x + (self.xy * y + self.x0), self.yx * x + (self.yy * y + self.y0)

    def after(self, first: Affine) -> Affine:
        """The map that applies ``first``, then this one."""
        return Affine(
            self.xx * first.xx + self.xy * first.yx,
            self.xx * first.xy + self.xy * first.yy,
            self.yx * first.xx + self.yy * first.yx,
            self.yx * first.xy + self.yy * first.yy,
            *self(first.x0, first.y0),
        )

    def inverse(self) -> Affine:
        """The map that undoes this one."""
        det = self.xx * self.yy - self.xy * self.yx
        xx, xy, yx, yy = self.yy / det, -self.xy / det, -self.yx / det, self.xx / det
        return Affine(
            xx, xy, yx, yy, -(xx * self.x0 + xy * self.y0), -(yx * self.x0 + yy * self.y0)
        )


@dataclass(frozen=True)
class Layer:
    """Something flat that moves.

    Attributes:
        texture: (h, w, 3) uint8, colours of its texels; 2 or more along each side.
        place: Map from its texels to the first image.
        motion: Map from the first image to the second.
        coverage: (h, w) uint8, at least SOLID inside its outline; None: it has no end, and the
            colours of its border go on.
        source: Index of the digit in ``digits.load()``; None for what is no digit.
    """

    texture: np.ndarray
    place: Affine
    motion: Affine
    coverage: np.ndarray | None = None
    source: int | None = None

    def texels(self, frame: int) -> Affine:
        """Map from an image, 0 or 1, to the texels."""
        return (self.motion.after(self.place) if frame else self.place).inverse()

    def covers(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether points, in texels, lie inside its outline, bool."""
        if self.coverage is None:
            return np.ones(np.broadcast_shapes(x.shape, y.shape), dtype=bool)
        height, width = self.coverage.shape
        inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
        coverage = _interpolated(self.coverage.astype(np.int64), x, y)
        return inside & (coverage >= SOLID * STEPS**2)

    def box(self, frame: int, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of an image (H, W) outside of which it is not to be seen."""
        if self.coverage is None:
            return slice(0, shape[0]), slice(0, shape[1])
        height, width = self.coverage.shape
        corners = np.asarray([-0.5, width - 0.5])[None], np.asarray([-0.5, height - 0.5])[:, None]
        x, y = self.texels(frame).inverse()(*corners)
        return _span(y, shape[0]), _span(x, shape[1])


@dataclass(frozen=True)
class Pair:
    """Two images and what became of the first one's pixels.

    Attributes:
        images: Two (H, W, 3) uint8.
        flow: (H, W, 2) float32, u and v in pixels from the first to the second.
        occluded: (H, W) bool: something else is in front of the point that a pixel's centre moves
            to, or that point is not between the pixel centres of the second image.
        owner: (H, W) int16, index of the layer that each pixel of the first image belongs to: of
            the topmost one that covers half of it or more.
    """

    images: tuple[np.ndarray, np.ndarray]
    flow: np.ndarray
    occluded: np.ndarray
    owner: np.ndarray


def render(layers: tuple[Layer, ...], shape: tuple[int, int]) -> Pair:
    """Draw both images, (H, W) = ``shape``.

    Args:
        layers: Lowest first; the first one must have no end.
        shape: H, W.
    """
    first, owner = draw(layers, 0, shape)
    second, _ = draw(layers, 1, shape)
    height, width = shape
    flow = np.zeros((*shape, 2))
    occluded = np.zeros(shape, dtype=bool)
    for index, layer in enumerate(layers):
        rows, columns = np.nonzero(owner == index)
        x, y = layer.motion(columns.astype(np.float64), rows.astype(np.float64))
        flow[rows, columns] = np.stack([x - columns, y - rows], axis=1)
        hidden = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
        for other in layers[index + 1 :]:
            hidden |= other.covers(*other.texels(1)(x, y))
        occluded[rows, columns] = hidden
    return Pair((first, second), flow.astype(np.float32), occluded, owner)


def draw(
    layers: tuple[Layer, ...], frame: int, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image, 0 or 1: its pixels (H, W, 3) uint8, and their owners (H, W) int16."""
    samples = np.zeros([length * SAMPLES for length in shape], dtype=np.int64)
    owner = np.full(shape, NOTHING, dtype=np.int16)
    for index, layer in enumerate(layers):
        rows, columns = layer.box(frame, shape)
        x, y = layer.texels(frame)(_points(columns)[None], _points(rows)[:, None])
        part = samples[_scaled(rows), _scaled(columns)]
        texture = _packed(layer.texture)
        if layer.coverage is None:
            part[:] = _interpolated(texture, x, y)
            owner[:] = index
        else:
            covered = layer.covers(x, y)
            part[covered] = _interpolated(texture, x[covered], y[covered])
            owner[rows, columns][2 * _sums(covered.astype(np.int64)) >= SAMPLES**2] = index
    unit = STEPS**2 * SAMPLES**2
    return ((_unpacked(_sums(samples)) + unit // 2) // unit).astype(np.uint8), owner


def _interpolated(grid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values between texels, bilinear, times STEPS * STEPS: (...) int64.

    Args:
        grid: (h, w) int64, continued beyond its border by its border.
        x: (...) columns.
        y: (...) rows.
    """
    height, width = grid.shape
    columns, right = _split(x, width)
    rows, below = _split(y, height)
    corner = rows * width + columns
    upper, lower = (
        grid.take(start) * (STEPS - right) + grid.take(start + 1) * right
        for start in (corner, corner + width)
    )
    return upper * (STEPS - below) + lower * below


def _packed(colours: np.ndarray) -> np.ndarray:
    """Put three channels (..., 3) into one int64 (...), so that all are interpolated at once."""
    wide = colours.astype(np.int64)
    return wide[..., 0] | wide[..., 1] << BITS | wide[..., 2] << 2 * BITS


def _unpacked(packed: np.ndarray) -> np.ndarray:
    """Undo :func:`_packed`: (...) -> (..., 3)."""
    return np.stack([packed >> shift & (1 << BITS) - 1 for shift in (0, BITS, 2 * BITS)], axis=-1)


def _split(place: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the texel before each place, and how far behind that it is, 0..STEPS; int64."""
    steps = np.floor(place * STEPS + 0.5).astype(np.int64).clip(0, (length - 1) * STEPS)
    before = np.minimum(steps // STEPS, length - 2)
    return before, steps - before * STEPS


def _points(pixels: slice) -> np.ndarray:
    """Where the sample points of some rows or columns lie, float64."""
    samples = np.arange(pixels.start * SAMPLES, pixels.stop * SAMPLES)
    return (2 * samples + 1 - SAMPLES) / (2 * SAMPLES)


def _scaled(pixels: slice) -> slice:
    return slice(pixels.start * SAMPLES, pixels.stop * SAMPLES)


def _sums(samples: np.ndarray) -> np.ndarray:
    """Add up each pixel's samples: (..., H * SAMPLES, W * SAMPLES) -> (..., H, W)."""
    rows = sum(samples[..., start::SAMPLES, :] for start in range(SAMPLES))
    return sum(rows[..., start::SAMPLES] for start in range(SAMPLES))


def _span(places: np.ndarray, length: int) -> slice:
    """The pixels from the least to the greatest place, within 0..length."""
    low = min(max(int(np.floor(places.min())), 0), length)
    return slice(low, max(min(int(np.ceil(places.max())) + 1, length), low))
