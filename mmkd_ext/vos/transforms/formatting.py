"""The ends of the pipelines: objects of a clip are chosen, arrays become tensors and a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmkd_ext.frames.reading import read_image
from mmkd_ext.frames.video_file import VideoFile
from mmkd_ext.registry import TRANSFORMS
from mmkd_ext.vos.datasets.video import EVERYTHING
from mmkd_ext.vos.masks import VOID, keep_ids, object_ids
from mmkd_ext.vos.structures import VOSDataSample
from mmkd_ext.vos.transforms.reading import read_ids


@TRANSFORMS.register_module()
class SelectObjects(BaseTransform):
    """Choose objects at random among those that the first frame shows, and number them 1..n.

    All else, void too, becomes background.

    Args:
        max_objects: N. Where there are fewer, the others are marked as not valid.
        min_pixels: An object counts where the first frame shows so many pixels of it.
    """

    def __init__(self, max_objects: int = 2, min_pixels: int = 1) -> None:
        self.max_objects = max_objects
        self.min_pixels = min_pixels

    def transform(self, results: dict) -> dict | None:
        """Renumber ``masks``, add ``valid_objects``; None (draw anew) where there is no object."""
        pixels = np.bincount(results["masks"][0].ravel(), minlength=256)
        pixels[[0, VOID]] = 0
        present = np.flatnonzero(pixels >= max(self.min_pixels, 1))
        if not len(present):
            return None
        count = min(len(present), self.max_objects)
        chosen = np.random.choice(present, count, replace=False)
        renumber = np.zeros(256, dtype=np.uint8)
        renumber[chosen] = np.arange(1, count + 1)
        results["masks"] = [renumber[mask] for mask in results["masks"]]
        results["valid_objects"] = np.arange(self.max_objects) < count
        return results


@TRANSFORMS.register_module()
class PackClip(BaseTransform):
    """Make tensors of a clip: ``inputs`` (T, 3, H, W) uint8 RGB and ``data_samples``."""

    def transform(self, results: dict) -> dict:
        """The item of the dataset; see :class:`mmkd_ext.vos.structures.VOSDataSample`."""
        keys = ("video", "frames", "ori_shape")
        sample = VOSDataSample(metainfo={key: results[key] for key in keys})
        sample.gt_masks = torch.from_numpy(np.stack(results["masks"])).long()
        sample.valid_objects = torch.from_numpy(results["valid_objects"])
        clip = torch.from_numpy(np.stack(results["imgs"])).permute(0, 3, 1, 2).contiguous()
        return {"inputs": clip, "data_samples": sample}


@TRANSFORMS.register_module()
class LoadFrame(BaseTransform):
    """Load one frame of a video that is tested, and the masks that belong to it.

    A video file stays open between frames.
    """

    def __init__(self) -> None:
        self._file = VideoFile()

    def transform(self, results: dict) -> dict:
        """Add ``img`` (H, W, 3) uint8 RGB, ``ori_shape``, ``given_mask`` and ``gt_mask``."""
        if "img_path" in results:
            image = read_image(results["img_path"])
        else:
            image = self._file.read(results["video_file"], results["number"])
        results["img"] = image
        results["ori_shape"] = image.shape[:2]
        given = results["given"]
        path = results["mask_path"]
        if path is None or (given is None and not results["ground_truth"]):
            return results
        mask = read_ids(path, image.shape[:2], results["merge"])
        if given is not None:
            results["given_mask"] = keep_ids(
                mask, object_ids(mask) if given == EVERYTHING else given
            )
        if results["ground_truth"]:
            results["gt_mask"] = mask
        return results


@TRANSFORMS.register_module()
class PackFrame(BaseTransform):
    """Make tensors of a frame: ``inputs`` (3, H, W) uint8 RGB and ``data_samples``."""

    META_KEYS = (
        "video",
        "frame",
        "index",
        "num_frames",
        "ori_shape",
        "is_first",
        "is_last",
        "save",
        "categories",
    )

    def transform(self, results: dict) -> dict:
        """The item of the dataset; see :class:`mmkd_ext.vos.structures.VOSDataSample`."""
        sample = VOSDataSample(metainfo=self._metainfo(results))
        for name in ("given_mask", "gt_mask"):
            if name in results:
                setattr(sample, name, torch.from_numpy(results[name]))
        image = torch.from_numpy(results["img"]).permute(2, 0, 1).contiguous()
        return {"inputs": image, "data_samples": sample}

    def _metainfo(self, results: dict) -> dict[str, Any]:
        return {key: results[key] for key in self.META_KEYS if key in results}
