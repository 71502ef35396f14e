"""Size, place and shape of a clip's frames: images by bicubic interpolation, masks by nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomAffine, RandomResizedCrop
from torchvision.transforms import functional as F

from mmkd_ext.registry import TRANSFORMS
from mmkd_ext.vos.transforms.base import ClipTransform

IMAGE_FILL = (124, 116, 104)  # ImageNet's mean
Frame = tuple[np.ndarray, np.ndarray]


@TRANSFORMS.register_module()
class ClipResizeShort(ClipTransform):
    """Resize all frames so that their shorter side has a given length; aspect kept.

    Args:
        size: Length in pixels.
        shrink_only: Leave smaller frames alone.
    """

    def __init__(self, size: int = 480, shrink_only: bool = False) -> None:
        self.size = size
        self.shrink_only = shrink_only

    def draw(self, height: int, width: int) -> tuple[int, int]:
        """The new (height, width); nothing is random."""
        short = min(height, width)
        if self.shrink_only and short <= self.size:
            return height, width
        return round(height * self.size / short), round(width * self.size / short)

    def apply(self, image: np.ndarray, mask: np.ndarray, drawn: tuple[int, int]) -> Frame:
        """Resize one frame."""
        return resize(image, mask, drawn)


@TRANSFORMS.register_module()
class ClipRandomFlip(ClipTransform):
    """Mirror all frames left to right.

    Args:
        prob: Probability.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def draw(self, height: int, width: int) -> bool:
        """Whether to."""
        return np.random.random_sample() < self.prob

    def apply(self, image: np.ndarray, mask: np.ndarray, drawn: bool) -> Frame:
        """Mirror one frame."""
        if not drawn:
            return image, mask
        return np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])


@TRANSFORMS.register_module()
class ClipRandomResizedCrop(ClipTransform):
    """Cut the same random part out of all frames and resize it.

    Args:
        size: (h, w) of the result, or the side of a square.
        scale: Range of the part's area, as a share of the frame's.
        ratio: Range of its aspect w / h, drawn log-uniformly.
    """

    def __init__(
        self,
        size: int | Sequence[int] = 384,
        scale: Sequence[float] = (0.36, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.scale = list(scale)
        self.ratio = list(ratio)

    def draw(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part."""
        # Its first argument is only asked for its size.
        return RandomResizedCrop.get_params(Image.new("1", (width, height)), self.scale, self.ratio)

    def apply(self, image: np.ndarray, mask: np.ndarray, drawn: tuple) -> Frame:
        """Crop and resize one frame."""
        top, left, height, width = drawn
        part = (slice(top, top + height), slice(left, left + width))
        return resize(image[part], mask[part], self.size)


@TRANSFORMS.register_module()
class ClipRandomAffine(ClipTransform):
    """Rotate, shear and scale all frames alike, about their centre.

    Args:
        degrees: The angle is drawn from ``-degrees .. degrees``.
        scale: Range of the scale; None for 1.
        shear: The horizontal shear is drawn from ``-shear .. shear`` degrees.
        image_fill: RGB of what comes from outside; masks get 0.
    """

    def __init__(
        self,
        degrees: float = 0.0,
        scale: Sequence[float] | None = None,
        shear: float | None = None,
        image_fill: Sequence[int] = IMAGE_FILL,
    ) -> None:
        made = RandomAffine(
            degrees, scale=scale, shear=shear
        )  # checks, and makes ranges of numbers
        self.degrees, self.scale, self.shear = made.degrees, made.scale, made.shear
        self.image_fill = list(image_fill)

    def draw(self, height: int, width: int) -> tuple:
        """Angle, translation, scale and shear."""
        return RandomAffine.get_params(self.degrees, None, self.scale, self.shear, [width, height])

    def apply(self, image: np.ndarray, mask: np.ndarray, drawn: tuple) -> Frame:
        """Change one frame."""
        angle, translation, scale, shear = drawn
        bicubic, nearest = InterpolationMode.BICUBIC, InterpolationMode.NEAREST
        settings = (angle, list(translation), scale, list(shear))
        moved = F.affine(Image.fromarray(image), *settings, bicubic, self.image_fill)
        return np.array(moved), np.array(F.affine(Image.fromarray(mask), *settings, nearest, 0))


@TRANSFORMS.register_module()
class FrameRandomAffine(ClipRandomAffine):
    """:class:`ClipRandomAffine` drawn anew for each frame."""

    per_frame = True


@TRANSFORMS.register_module()
class FrameRandomCrop(ClipTransform):
    """Cut a random part of fixed size out of each frame, padded where it is smaller.

    Args:
        size: (h, w), or the side of a square.
        image_fill: RGB of the padding; masks get 0.
    """

    per_frame = True

    def __init__(
        self, size: int | Sequence[int] = 384, image_fill: Sequence[int] = IMAGE_FILL
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.image_fill = tuple(image_fill)

    def draw(self, height: int, width: int) -> tuple[int, int]:
        """Top and left of the part, in the padded frame."""
        spare = (max(height - self.size[0], 0), max(width - self.size[1], 0))
        return tuple(np.random.randint(0, np.add(spare, 1)).tolist())

    def apply(self, image: np.ndarray, mask: np.ndarray, drawn: tuple[int, int]) -> Frame:
        """Pad and crop one frame."""
        top, left = drawn
        height, width = self.size
        image = image[top : top + height, left : left + width]
        mask = mask[top : top + height, left : left + width]
        if mask.shape == self.size:
            return np.ascontiguousarray(image), np.ascontiguousarray(mask)
        # Half of the padding on either side, so that what is there stays in the middle.
        y, x = (height - mask.shape[0]) // 2, (width - mask.shape[1]) // 2
        there = (slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1]))
        whole = np.empty((height, width, 3), np.uint8)
        whole[:] = self.image_fill
        whole[there] = image
        ids = np.zeros(self.size, np.uint8)
        ids[there] = mask
        return whole, ids


def resize(image: np.ndarray, mask: np.ndarray, size: Any) -> Frame:
    """Resize an image (bicubic, antialiased) and its mask (nearest) to ``size`` (h, w)."""
    if mask.shape == tuple(size):
        return image, mask
    shape = (size[1], size[0])
    resized = Image.fromarray(image).resize(shape, Image.Resampling.BICUBIC)
    ids = Image.fromarray(mask).resize(shape, Image.Resampling.NEAREST)
    return np.array(resized), np.array(ids)
