"""FlyingChairs (Dosovitskiy et al., "FlowNet", ICCV 2015)."""

from __future__ import annotations

from typing import Any

from mmkd_ext.flow.datasets.base import FlowDataset
from mmkd_ext.flow.datasets.listing import flow_files
from mmkd_ext.frames.files import frame_files
from mmkd_ext.registry import DATASETS

FIRST, SECOND, FLOW, OCCLUSION = "_img1", "_img2", "_flow", "_occ1"


@DATASETS.register_module()
class FlyingChairsDataset(FlowDataset):
    """FlyingChairs as unpacked, or anything that is laid out like it.

    ::

        <data_root>/data/00001_img1.ppm, 00001_img2.ppm, 00001_flow.flo
        <data_root>/data/00001_occ1.png      if there are any: as in FlyingChairsOcc
        <data_root>/FlyingChairs_train_val.txt

    Each pair is a sequence of its own.

    Args:
        split: ``'train'`` (22,232 pairs of the original), ``'val'`` (640), or ``'trainval'``: all.
        split_file: A line for each pair, 1 (train) or 2 (val); relative to ``data_root``.
            ``'trainval'`` does not read it.
        **kwargs: Of mmengine's ``BaseDataset``.

    Raises:
        ValueError: A pair lacks a file, or the split file does not fit.
    """

    def __init__(
        self, split: str = "train", split_file: str = "FlyingChairs_train_val.txt", **kwargs: Any
    ) -> None:
        self.split = self.choose(split, "split", ("train", "val", "trainval"))
        self.split_file = split_file
        super().__init__(**kwargs)

    def find_pairs(self) -> list[dict]:
        """The pairs by their number."""
        folder = self.folder("data")
        images = {path.stem: path for path in frame_files(folder)}
        flows = flow_files(folder)
        ends = (FIRST, SECOND)
        names = dict.fromkeys(stem[: -len(FIRST)] for stem in images if stem.endswith(ends))
        names |= dict.fromkeys(stem[: -len(FLOW)] for stem in flows if stem.endswith(FLOW))
        pairs = []
        for name in names:
            files = [images.get(name + end) for end in ends] + [flows.get(name + FLOW)]
            for end, file in zip((*ends, FLOW), files, strict=True):
                if file is None:
                    raise ValueError(f"{folder}: pair {name} has no file {name}{end}")
            img1, img2, flow = files
            occlusion = images.get(name + OCCLUSION)
            pairs.append(self.pair(img1, img2, name, 0, flow=flow, occlusion=occlusion))
        if self.split == "trainval" or not pairs:
            return pairs
        return self.split_pairs(pairs, self.split, self.split_file, folder)
