"""Frames of videos in their order, whole videos in one process."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mmkd_ext.frames.dealing import deal
from mmkd_ext.registry import DATA_SAMPLERS
from mmkd_ext.vos.datasets.video import VOSVideoDataset


@DATA_SAMPLERS.register_module()
class VideoFrameSampler(Sampler):
    """Yield (video, frame) pairs of a video dataset in test mode.

    Videos are dealt out, the longest first, each to the process that has the fewest frames so far.
    So no process works much longer than the others, no video is split, and none is seen twice. A
    process may have fewer frames than another, or none.

    Args:
        dataset: A :class:`mmkd_ext.vos.datasets.VOSVideoDataset` with ``test_mode=True``.
        seed: Ignored; nothing is random. mmengine passes one to every sampler.

    Raises:
        ValueError: It is another kind of dataset, or not in test mode.
    """

    def __init__(self, dataset: VOSVideoDataset, seed: int | None = None) -> None:
        if not isinstance(dataset, VOSVideoDataset) or not dataset.test_mode:
            raise ValueError(
                "VideoFrameSampler: wants a video dataset with test_mode=True, but got "
                f"{type(dataset).__name__}"
                + (" without it" if isinstance(dataset, VOSVideoDataset) else "")
            )
        rank, world_size = get_dist_info()
        self.counts = dataset.frame_counts
        self.videos = deal(self.counts, world_size)[rank]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for video in self.videos:
            for frame in range(self.counts[video]):
                yield video, frame

    def __len__(self) -> int:
        return sum(self.counts[video] for video in self.videos)

    def set_epoch(self, epoch: int) -> None:
        """Nothing depends on the epoch."""
