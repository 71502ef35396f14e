"""A slice of each class of an image folder: label budgets and held-out splits, no file copied."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from mmpretrain.datasets import CustomDataset

from mmkd_ext.registry import DATASETS


@DATASETS.register_module()
class FolderSubset(CustomDataset):
    """mmpretrain's ``CustomDataset``, of which each class keeps the images ``start:stop`` by name.

    Args:
        per_class: ``(start, stop)``, 0 <= start < stop, in the order of the file names within a
            class. ``(0, 4500)`` and ``(4500, 5000)`` of one folder are a training split and the
            split that is held out of it. None keeps all.
        **kwargs: Of ``CustomDataset``.

    Raises:
        ValueError: ``per_class`` is not such a pair, or a class has fewer images than ``stop``.
    """

    def __init__(self, *args: Any, per_class: Sequence[int] | None = None, **kwargs: Any) -> None:
        if per_class is not None:
            pair = isinstance(per_class, (list, tuple)) and len(per_class) == 2
            whole = pair and all(isinstance(bound, int) for bound in per_class)
            if not whole or not 0 <= per_class[0] < per_class[1]:
                raise ValueError(
                    "FolderSubset: per_class is (start, stop) with 0 <= start < stop, but got "
                    f"{per_class}"
                )
        self.per_class = per_class
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The images that are kept, class by class."""
        images = super().load_data_list()
        if self.per_class is None:
            return images
        start, stop = self.per_class
        by_class: dict[int, list[dict]] = defaultdict(list)
        for image in images:
            by_class[image["gt_label"]].append(image)
        kept = []
        for label, name in enumerate(self.CLASSES):
            members = sorted(by_class[label], key=lambda image: image["img_path"])
            if len(members) < stop:
                raise ValueError(
                    f"FolderSubset: per_class={tuple(self.per_class)}, but class "
                    f"{name!r} of {self.img_prefix} has only {len(members)} images"
                )
            kept += members[start:stop]
        return kept
