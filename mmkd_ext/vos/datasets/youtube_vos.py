"""YouTube-VOS 2018 and 2019 (Xu et al., arXiv:1809.03327); both years look alike on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmkd_ext.frames.files import natural
from mmkd_ext.registry import DATASETS
from mmkd_ext.vos.datasets.video import VOSVideoDataset, read_list
from mmkd_ext.vos.masks import YOUTUBE_VOS_PALETTE


@DATASETS.register_module()
class YouTubeVOSDataset(VOSVideoDataset):
    """YouTube-VOS as unpacked from its archives.

    ::

        <data_root>/<folder>/JPEGImages/<video>/00000.jpg
        <data_root>/<folder>/Annotations/<video>/00000.png
        <data_root>/<folder>/meta.json

    Annotations and ``meta.json`` are taken from ``<split>`` where ``<folder>`` has none, as they
    are not in the archive of all frames.

    ``meta.json`` says where an object is given (its first frame) and which frames are handed in.
    Its object ids need not be contiguous.

    Args:
        split: ``'train'``, ``'valid'`` or ``'test'``.
        all_frames: Test on all frames (30 a second) instead of every fifth; has no effect on
            ``'train'``.
        folder: Where the frames are, e.g. ``'train_480p'``; ``<split>`` or ``<split>_all_frames``
            by default.
        ann_file: A list of videos, '' for all.
        **kwargs: Of :class:`VOSVideoDataset`, except ``given``.

    Raises:
        ValueError: In test mode, when there is no ``meta.json``, it lacks a video, or an object's
            first frame or its mask is missing.
    """

    METAINFO = dict(palette=YOUTUBE_VOS_PALETTE)

    def __init__(
        self,
        split: str = "train",
        all_frames: bool = True,
        folder: str | None = None,
        ann_file: str = "",
        **kwargs: Any,
    ) -> None:
        self.split = split
        self.folder = folder or (
            f"{split}_all_frames" if all_frames and split != "train" else split
        )
        self._videos: dict[str, dict] = {}
        root = Path(kwargs.get("data_root") or "")
        masks = next(
            (f for f in (self.folder, split) if (root / f / "Annotations").is_dir()), split
        )
        defaults = dict(
            data_prefix=dict(
                img_path=f"{self.folder}/JPEGImages", mask_path=f"{masks}/Annotations"
            ),
            ground_truth=split == "train",
            binary=False,
        )
        super().__init__(ann_file, **{**defaults, **kwargs})

    def load_data_list(self) -> list[dict]:
        """The videos of the list, of ``meta.json``, or of the folder."""
        self._videos = self._read_meta()
        return super().load_data_list()

    def video_names(self) -> list[str]:
        """The names of the videos of this split."""
        if self.ann_file:
            return read_list(self.ann_file)
        return sorted(self._videos) or super().video_names()

    def parse_video(self, name: str) -> dict:
        """See the base; also ``categories`` (id -> name) and ``saved`` (frames to hand in)."""
        if self.test_mode and name not in self._videos:
            raise ValueError(f"YouTubeVOSDataset: meta.json does not know the video {name!r}")
        return super().parse_video(name) | self._from_meta(name)

    def find_given(self, video: dict) -> dict[int, list[int]]:
        """Each object at its first frame in ``meta.json``."""
        given: dict[int, list[int]] = {}
        place = {frame: index for index, frame in enumerate(video["frames"])}
        for number, content in self._videos[video["video"]]["objects"].items():
            first = min(content["frames"], key=natural)
            if first not in video["masks"]:
                raise ValueError(
                    f"YouTubeVOSDataset: object {number} of video {video['video']!r} begins at "
                    f"frame {first}, but that frame, or its mask in "
                    f"{self.data_prefix['mask_path']}, is missing"
                )
            given.setdefault(place[first], []).append(int(number))
        return dict(sorted(given.items()))

    def _from_meta(self, name: str) -> dict:
        if name not in self._videos:
            return {}
        objects = self._videos[name]["objects"]
        return {
            "categories": {int(number): c.get("category", "") for number, c in objects.items()},
            "saved": sorted({frame for c in objects.values() for frame in c["frames"]}),
        }

    def _read_meta(self) -> dict[str, dict]:
        root = Path(self.data_root or "")
        candidates = [root / folder / "meta.json" for folder in (self.folder, self.split)]
        for path in candidates:
            if path.is_file():
                return json.loads(path.read_text(encoding="utf-8"))["videos"]
        if self.test_mode:
            raise ValueError(
                "YouTubeVOSDataset: testing needs meta.json, but there is neither "
                + " nor ".join(str(path) for path in dict.fromkeys(candidates))
            )
        return {}
