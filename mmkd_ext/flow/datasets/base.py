"""What all datasets of optical flow have in common: an item is a pair of images."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset

from mmkd_ext.flow.datasets.listing import existing, read_split

SPLIT_VALUES = {"train": 1, "val": 2}  # of split files


class FlowDataset(BaseDataset):
    """Pairs of images. A subclass says in :meth:`find_pairs` what they are.

    An item, before the pipeline, is what :meth:`pair` makes. All datasets have the same (no)
    metainfo, so that mmengine's ``ConcatDataset`` takes any mix of them, and of repeated ones.

    Takes the arguments of mmengine's ``BaseDataset``: ``data_root``, ``pipeline``, ``indices``, ...

    Raises:
        ValueError: A folder or file is missing, or there is no pair.
    """

    METAINFO: dict = dict()

    def load_data_list(self) -> list[dict]:
        """The pairs, sequence by sequence."""
        pairs = self.find_pairs()
        if not pairs:
            raise ValueError(
                f"{type(self).__name__}: there is no pair of images in {self.data_root or '.'}"
            )
        counts = Counter(pair["result_path"] for pair in pairs)
        name, times = counts.most_common(1)[0]
        if times > 1:
            raise ValueError(
                f"{type(self).__name__}: {times} pairs would have the same result file {name}; "
                "frames of one sequence have different names"
            )
        return pairs

    @abstractmethod
    def find_pairs(self) -> list[dict]:
        """The pairs of this split, each made by :meth:`pair`."""

    @staticmethod
    def pair(
        img1: Path,
        img2: Path,
        sequence: str,
        index: int,
        *,
        sparse: bool = False,
        result: str | None = None,
        subset: str | None = None,
        **files: Path | None,
    ) -> dict:
        """An item of the dataset.

        Args:
            img1: First image.
            img2: Second image.
            sequence: Name of the sequence, unique in the dataset.
            index: Place of the pair in the sequence, from 0.
            sparse: Whether the ground truth is known here and there only (KITTI, HD1K).
            result: What a result file is called; None: ``<sequence>/<frame>.flo``.
            subset: Of the dataset, whose figures are told apart.
            **files: ``flow``, ``noc`` (flow of what both images show), ``occlusion``, ``invalid``
                (PNGs); None where there is none.

        Returns:
            ``img1_path``, ``img2_path``, ``sequence``, ``index``, ``frame`` (name of the first
            image), ``sparse``, ``result_path``, ``subset`` if given, and of ``files`` those that
            there are, as ``flow_path``, ...
        """
        return {
            "img1_path": str(img1),
            "img2_path": str(img2),
            "sequence": sequence,
            "index": index,
            "frame": img1.stem,
            "sparse": sparse,
            "result_path": result or f"{sequence}/{img1.stem}.flo",
            **({} if subset is None else {"subset": subset}),
            **{f"{kind}_path": str(path) for kind, path in files.items() if path is not None},
        }

    def sequences(self) -> list[list[int]]:
        """Indices of the pairs of each sequence, in their order; sequences as they come."""
        found: dict[str, list[tuple[int, int]]] = {}
        for number in range(len(self)):
            info = self.get_data_info(number)
            found.setdefault(info["sequence"], []).append((info["index"], number))
        return [[number for _, number in sorted(pairs)] for pairs in found.values()]

    def folder(self, *parts: str) -> Path:
        """A folder below ``data_root``.

        Raises:
            ValueError: There is none.
        """
        return existing(Path(self.data_root or "").joinpath(*parts))

    def choose(self, value: Any, name: str, allowed: tuple) -> Any:
        """The value, if it is one of those allowed.

        Raises:
            ValueError: It is not.
        """
        if value not in allowed:
            options = ", ".join(map(repr, allowed))
            raise ValueError(f"{type(self).__name__}: {name} is one of {options}, not {value!r}")
        return value

    def split_pairs(
        self, pairs: list[dict], split: str, split_file: str, where: Path
    ) -> list[dict]:
        """The pairs that a split file (relative to ``data_root``) puts into ``split``."""
        values = read_split(Path(self.data_root or "") / split_file, len(pairs), str(where))
        wanted = SPLIT_VALUES[split]
        chosen = [pair for pair, value in zip(pairs, values, strict=True) if value == wanted]
        if not chosen:
            raise ValueError(f"{type(self).__name__}: {split_file} puts no pair into {split!r}")
        return chosen
