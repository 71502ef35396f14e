"""DAVIS 2016 and 2017 (Perazzi et al., CVPR 2016; Pont-Tuset et al., arXiv:1704.00675)."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from mmkd_ext.registry import DATASETS
from mmkd_ext.vos.datasets.video import VOSVideoDataset, read_list
from mmkd_ext.vos.masks import davis_palette

WITHOUT_GROUND_TRUTH = ("test-dev", "test-challenge")


@DATASETS.register_module()
class DAVISDataset(VOSVideoDataset):
    """DAVIS as unpacked from its archives.

    ::

        <data_root>/JPEGImages/<resolution>/<video>/00000.jpg
        <data_root>/Annotations/<resolution>/<video>/00000.png
        <data_root>/ImageSets/<year>/<split>.txt

    Args:
        year: 2016 (one object: the ids of the 2017 annotations are merged) or 2017.
        split: ``'train'``, ``'val'``, ``'test-dev'`` or ``'test-challenge'``.
        resolution: ``'480p'`` or ``'Full-Resolution'``.
        **kwargs: Of :class:`VOSVideoDataset`. ``given`` is ``'first'`` here: in DAVIS all objects
            are in the first frame.
    """

    METAINFO = dict(palette=davis_palette())

    def __init__(
        self, year: int = 2017, split: str = "train", resolution: str = "480p", **kwargs: Any
    ) -> None:
        if year not in (2016, 2017):
            raise ValueError(f"DAVISDataset: year is 2016 or 2017, not {year!r}")
        defaults = dict(
            ann_file=f"ImageSets/{year}/{split}.txt",
            data_prefix=dict(
                img_path=f"JPEGImages/{resolution}", mask_path=f"Annotations/{resolution}"
            ),
            single_object=year == 2016,
            given="first",
            ground_truth=split not in WITHOUT_GROUND_TRUTH,
            binary=False,
        )
        super().__init__(**{**defaults, **kwargs})

    def video_names(self) -> list[str]:
        """The videos of the list; the lists of 2016 name every image, with its path."""
        if not self.ann_file:
            return super().video_names()
        words = [line.split()[0] for line in read_list(self.ann_file)]
        names = (PurePath(word).parent.name if "/" in word else word for word in words)
        return list(dict.fromkeys(names))
