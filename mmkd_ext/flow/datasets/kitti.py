"""KITTI 2015 (Menze and Geiger, "Object Scene Flow for Autonomous Vehicles", CVPR 2015)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmkd_ext.flow.datasets.base import FlowDataset
from mmkd_ext.flow.datasets.listing import existing, flow_files
from mmkd_ext.frames.files import frame_files
from mmkd_ext.registry import DATASETS

FIRST, SECOND = "_10", "_11"


@DATASETS.register_module()
class KITTI2015Dataset(FlowDataset):
    """KITTI 2015 as unpacked; frames beside the pairs (multi-view) are passed over.

    ::

        <data_root>/training/image_2/000000_10.png, 000000_11.png
        <data_root>/training/flow_occ/000000_10.png      of all pixels that a laser has hit
        <data_root>/training/flow_noc/000000_10.png      of those that both images show; optional
        <data_root>/testing/image_2/000000_10.png, 000000_11.png

    Each pair is a sequence of its own. The ground truth is sparse.

    Args:
        split: ``'trainval'``: all 200 pairs of ``training``; ``'val'`` (40): those whose number is
            a multiple of ``val_every``; ``'train'`` (160): the others; ``'test'`` (200).
        val_every: See ``split``.
        **kwargs: Of mmengine's ``BaseDataset``.

    Raises:
        ValueError: A folder or an image is missing, or images and flow do not match.
    """

    def __init__(self, split: str = "trainval", val_every: int = 5, **kwargs: Any) -> None:
        self.split = self.choose(split, "split", ("train", "val", "trainval", "test"))
        if isinstance(val_every, bool) or not isinstance(val_every, int) or val_every < 2:
            raise ValueError(
                f"KITTI2015Dataset: val_every is an integer of 2 or more, not {val_every!r}"
            )
        self.val_every = val_every
        super().__init__(**kwargs)

    def find_pairs(self) -> list[dict]:
        """The pairs by their number."""
        folder = self.folder("testing" if self.split == "test" else "training")
        where = existing(folder / "image_2")
        images = {path.stem: path for path in frame_files(where)}
        names = [stem[: -len(FIRST)] for stem in images if stem.endswith(FIRST)]
        for name in names:
            if name + SECOND not in images:
                raise ValueError(f"{where}: {name}{FIRST} has no second image {name}{SECOND}")
        flows: dict[str, dict[str, Path]] = {}
        if self.split != "test":
            flows["flow"] = self._flows(folder / "flow_occ", names)
            if (folder / "flow_noc").is_dir():
                flows["noc"] = self._flows(folder / "flow_noc", names)
        pairs = [
            self.pair(
                images[name + FIRST],
                images[name + SECOND],
                name,
                0,
                sparse=True,
                result=f"{name}{FIRST}.png",
                **{kind: files[name] for kind, files in flows.items()},
            )
            for name in names
        ]
        return [pair for pair in pairs if self._wanted(pair["sequence"])]

    def _wanted(self, name: str) -> bool:
        if self.split in ("trainval", "test"):
            return True
        if not name.isdecimal():
            raise ValueError(f"KITTI2015Dataset: {name}{FIRST} is no number, as splits need")
        return (int(name) % self.val_every == 0) == (self.split == "val")

    @staticmethod
    def _flows(folder: Path, names: list[str]) -> dict[str, Path]:
        files = flow_files(folder)
        wanted = {name + FIRST for name in names}
        other = sorted(wanted ^ set(files))
        if other:
            raise ValueError(
                f"{folder}: {len(files)} flow files for {len(names)} pairs of images; "
                f"{other[0]} is only on one side"
            )
        return {name: files[name + FIRST] for name in names}
