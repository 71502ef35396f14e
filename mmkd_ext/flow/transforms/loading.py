"""Files of an image pair to arrays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmkd_ext.flow.formats import read_flow
from mmkd_ext.frames.reading import read_image
from mmkd_ext.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadFlowPair(BaseTransform):
    """Load both images of a pair."""

    def transform(self, results: dict) -> dict:
        """Add ``img1`` and ``img2`` (H, W, 3) uint8 RGB, and ``ori_shape`` (H, W).

        Raises:
            ValueError: An image cannot be read, or the two have different sizes.
        """
        paths = results["img1_path"], results["img2_path"]
        img1, img2 = (read_image(path) for path in paths)
        if img1.shape != img2.shape:
            raise ValueError(
                f"{paths[0]} is {_size(img1)} and {paths[1]} {_size(img2)} pixels (width x "
                "height); the images of a pair have one size"
            )
        results["img1"], results["img2"] = img1, img2
        results["ori_shape"] = img1.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadFlowAnnotations(BaseTransform):
    """Load the ground truth, where the pair has one (``flow_path``); come after LoadFlowPair.

    Args:
        max_component: In pixels. Vectors with a component of that size or more count as not known,
            as RAFT has it for dense ground truth (1000). None: whatever the file knows.
    """

    def __init__(self, max_component: float | None = None) -> None:
        if max_component is not None and not max_component > 0:
            raise ValueError(
                f"LoadFlowAnnotations: max_component is a length above 0, not {max_component!r}"
            )
        self.max_component = max_component

    def transform(self, results: dict) -> dict:
        """Add ``gt_flow``, ``gt_valid`` and, where it can be told, ``gt_occluded``.

        Where ``noc_path`` is given, occluded is what is known in ``flow_path`` but not there; with
        ``occlusion_path``, what that mask says. What ``invalid_path`` marks is not known.

        Returns:
            ``gt_flow`` (H, W, 2) float32, 0 where it is not known; ``gt_valid`` and ``gt_occluded``
            (H, W) bool.

        Raises:
            ValueError: A file is missing or damaged, or not of the images' size.
        """
        if "flow_path" not in results:
            return results
        flow, known = read_flow(results["flow_path"])
        _check_size(flow, "flow_path", results)
        if "noc_path" in results:
            shown = read_flow(results["noc_path"])[1]
            _check_size(shown, "noc_path", results)
            results["gt_occluded"] = known & ~shown
        elif "occlusion_path" in results:
            results["gt_occluded"] = _read_mask("occlusion_path", results)
        valid = known
        if "invalid_path" in results:
            valid = valid & ~_read_mask("invalid_path", results)
        if self.max_component is not None:
            valid = valid & (np.abs(flow) < self.max_component).all(axis=2)
        results["gt_flow"] = np.where(valid[..., None], flow, np.float32(0))
        results["gt_valid"] = valid
        return results


@TRANSFORMS.register_module()
class UnknownFlow(BaseTransform):
    """In place of LoadFlowAnnotations: the flow of this pair counts as unknown, file or not.

    Such pairs train nothing by themselves; in a distillation a teacher can label them.
    """

    def transform(self, results: dict) -> dict:
        """Add ``gt_flow`` (H, W, 2) float32, which is 0, and ``gt_valid`` (H, W) bool, False."""
        shape = results["img1"].shape[:2]
        results["gt_flow"] = np.zeros((*shape, 2), np.float32)
        results["gt_valid"] = np.zeros(shape, bool)
        return results


def _read_mask(key: str, results: dict) -> np.ndarray:
    """Where a PNG is not 0, (H, W) bool."""
    path = results[key]
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such mask")
    # With the depth it has: squeezed into 8 bits, a 1 of 16 bits would be 0.
    mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if mask is None:
        raise ValueError(f"{path}: not a mask that OpenCV can read")
    _check_size(mask, key, results)
    return mask > 0


def _check_size(array: np.ndarray, key: str, results: dict) -> None:
    if array.shape[:2] != results["img1"].shape[:2]:
        raise ValueError(
            f"{results[key]} is {_size(array)}, but its image {results['img1_path']} "
            f"{_size(results['img1'])} pixels (width x height)"
        )


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
