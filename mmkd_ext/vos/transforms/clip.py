"""Which frames of a video make a clip, and loading them.

The transforms of a clip share these entries of the results: ``imgs``, T arrays (H, W, 3) uint8 RGB,
and ``masks``, T arrays (H, W) uint8 of ids (255 = void).
"""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmkd_ext.frames.reading import read_image
from mmkd_ext.registry import TRANSFORMS
from mmkd_ext.vos.transforms.reading import read_ids


@TRANSFORMS.register_module()
class SampleClip(BaseTransform):
    """Draw frames of a video, not too far apart, in either direction of time.

    A first frame is drawn uniformly; then each further one uniformly among up to ``skip + 1``
    frames right of the rightmost pick and as many left of the leftmost, fewer where the video is
    short: the picks that are left must find room.

    ``skip`` lies in shared memory, so that :class:`mmkd_ext.vos.hooks.FrameSkipHook` reaches the
    data loader's workers. Without that hook it is ``max_skip`` throughout.

    Args:
        num_frames: T.
        max_skip: At most so many frames are skipped between two picks.
        final_skip: The same at the end of training; ``max(1, 2 * max_skip // 5)`` by default.
        reverse_prob: Probability that time runs backwards.
    """

    def __init__(
        self,
        num_frames: int = 3,
        max_skip: int = 25,
        final_skip: int | None = None,
        reverse_prob: float = 0.5,
    ) -> None:
        self.num_frames = num_frames
        self.max_skip = max_skip
        self.final_skip = max(1, 2 * max_skip // 5) if final_skip is None else final_skip
        self.reverse_prob = reverse_prob
        self._skip = torch.tensor([max_skip]).share_memory_()

    @property
    def skip(self) -> int:
        """How many frames may be skipped now."""
        return int(self._skip)

    @skip.setter
    def skip(self, value: int) -> None:
        self._skip.fill_(value)

    def transform(self, results: dict) -> dict:
        """Keep the drawn ``frames`` and their ``images`` and mask paths (``mask_paths``)."""
        picks = draw_frames(len(results["frames"]), self.num_frames, self.skip)
        if np.random.random_sample() < self.reverse_prob:
            picks.reverse()
        results["frames"] = [results["frames"][index] for index in picks]
        results["images"] = [results["images"][index] for index in picks]
        results["mask_paths"] = [results["masks"][frame] for frame in results["frames"]]
        return results


@TRANSFORMS.register_module()
class LoadClip(BaseTransform):
    """Load the images and masks of a clip."""

    def transform(self, results: dict) -> dict:
        """Add ``imgs``, ``masks`` and ``ori_shape`` (H, W)."""
        imgs = [read_image(path) for path in results["images"]]
        pairs = zip(results["mask_paths"], imgs, strict=True)
        results["masks"] = [
            read_ids(path, image.shape[:2], results["merge"]) for path, image in pairs
        ]
        results["imgs"] = imgs
        results["ori_shape"] = imgs[0].shape[:2]
        return results


def draw_frames(length: int, count: int, skip: int) -> list[int]:
    """Draw ``count`` frames of a video of ``length``, ascending; see :class:`SampleClip`.

    A video that is too short gives some frames twice.
    """
    if count > length:
        return sorted(np.random.randint(length, size=count).tolist())
    picks = [np.random.randint(length)]
    for remaining in range(count - 1, 0, -1):
        left, right = picks[0], length - 1 - picks[-1]
        reach = min(skip, (left + right - remaining) // remaining) + 1
        left, right = min(left, reach), min(right, reach)
        step = np.random.randint(-left, right)  # -1, -2, ... to the left; 0, 1, ... right
        if step < 0:
            picks.insert(0, picks[0] + step)
        else:
            picks.append(picks[-1] + step + 1)
    return picks
