"""Clips out of still images: objects cut out, resized and pasted anew in every frame (stage S0)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmkd_ext.frames.reading import read_image
from mmkd_ext.registry import TRANSFORMS
from mmkd_ext.vos.masks import read_binary_mask
from mmkd_ext.vos.transforms.geometric import resize

Cutout = tuple[np.ndarray, np.ndarray]  # image (h, w, 3) uint8 and mask (h, w) uint8 of 0 and 1


@TRANSFORMS.register_module()
class SynthesizeClip(BaseTransform):
    """Make a clip of an image and the objects of others.

    With one object the image is repeated. With more, the image's own object is painted over with
    its mean colour; then each frame gets all objects, each resized at random, in random places and
    a random order (a later one hides an earlier one). An object keeps its id in all frames.

    Args:
        num_frames: T.
        area: Range of the area to which an object's bounding box is resized, as a share of the
            area that the box has in its own image.
        aspect: Range of the new box's w / h, drawn log-uniformly.
    """

    def __init__(
        self,
        num_frames: int = 3,
        area: Sequence[float] = (0.16, 0.81),
        aspect: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        self.num_frames = num_frames
        self.area = tuple(area)
        self.aspect = tuple(aspect)

    def transform(self, results: dict) -> dict:
        """Add ``imgs``, ``masks``, ``frames`` and ``ori_shape``."""
        image, mask = self._load(results)
        results["ori_shape"] = mask.shape
        results["frames"] = [f"{index:05d}" for index in range(self.num_frames)]
        others = [self._load(other) for other in results["others"]]
        if not others:
            results["imgs"] = [image.copy() for _ in range(self.num_frames)]
            results["masks"] = [mask.copy() for _ in range(self.num_frames)]
            return results
        cutouts = [cut_out(*pair) for pair in [(image, mask), *others] if pair[1].any()]
        ids = np.random.permutation(len(cutouts)) + 1
        scene = painted_over(image, mask)
        frames = [self._compose(scene, cutouts, ids) for _ in range(self.num_frames)]
        results["imgs"] = [frame for frame, _ in frames]
        results["masks"] = [mask for _, mask in frames]
        return results

    def _load(self, info: dict) -> Cutout:
        image = read_image(info["img_path"])
        return image, read_binary_mask(info["mask_path"], image.shape[:2]).astype(np.uint8)

    def _compose(
        self, scene: np.ndarray, cutouts: Sequence[Cutout], ids: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        picture, mask = scene.copy(), np.zeros(scene.shape[:2], np.uint8)
        for which in np.random.permutation(len(cutouts)):
            paste(picture, mask, self._resized(cutouts[which]), int(ids[which]))
        return picture, mask

    def _resized(self, cutout: Cutout) -> Cutout:
        height, width = cutout[1].shape
        area = np.random.uniform(*self.area) * height * width
        aspect = math.exp(np.random.uniform(*np.log(self.aspect)))
        size = (round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect)))
        return resize(*cutout, tuple(max(side, 1) for side in size))


def cut_out(image: np.ndarray, mask: np.ndarray) -> Cutout:
    """The bounding box of a mask that is not empty."""
    left, top, right, bottom = Image.fromarray(mask).getbbox()
    return image[top:bottom, left:right], mask[top:bottom, left:right]


def painted_over(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with its object in that object's mean colour."""
    covered = image.copy()
    if mask.any():
        covered[mask > 0] = image[mask > 0].mean(axis=0).astype(np.uint8)
    return covered


def paste(picture: np.ndarray, ids: np.ndarray, cutout: Cutout, number: int) -> None:
    """Paste an object at a random place, into picture and ids; what does not fit is cut off."""
    image, mask = cutout
    spare = [a - b for a, b in zip(ids.shape, mask.shape, strict=True)]
    y, x = (np.random.randint(0, max(room, 0) + 1) for room in spare)
    image, mask = image[: ids.shape[0], : ids.shape[1]], mask[: ids.shape[0], : ids.shape[1]]
    there = (slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1]))
    inside = mask > 0
    picture[there][inside] = image[inside]
    ids[there][inside] = number
