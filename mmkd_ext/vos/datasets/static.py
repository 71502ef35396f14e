"""Still images with a mask of one object each, from which the pipeline makes clips (stage S0)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from mmkd_ext.frames.files import is_image
from mmkd_ext.registry import DATASETS
from mmkd_ext.vos.masks import davis_palette


@DATASETS.register_module()
class StaticVOSDataset(BaseDataset):
    """Folders of images and masks, files of one name; sub-folders are looked into.

    ::

        <img_path>/<set>/**/<name>.jpg
        <mask_path>/<set>/**/<name>.png        one object, 0/1 or 0..255

    An item is what :class:`mmkd_ext.vos.transforms.SynthesizeClip` needs: an image, and others
    drawn at random whose objects are pasted into it.

    Args:
        sets: Name of a set -> how often it counts.
        num_objects: Objects of a clip: of ``num_objects - 1`` other images and, where it is above
            one, of the image itself.
        data_prefix: ``img_path`` and ``mask_path``, relative to ``data_root``.
        **kwargs: Of mmengine's ``BaseDataset``.

    Raises:
        ValueError: A set is missing or empty, an image has no mask, or ``num_objects`` is more than
            there are images.
    """

    METAINFO = dict(palette=davis_palette())

    def __init__(
        self,
        sets: Mapping[str, int],
        num_objects: int = 2,
        data_prefix: dict | None = None,
        **kwargs: Any,
    ) -> None:
        self.sets = dict(sets)
        self.num_objects = num_objects
        self._distinct: list[dict] = []
        prefix = data_prefix or dict(img_path="JPEGImages", mask_path="Annotations")
        super().__init__(data_prefix=prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The images, set by set, each as often as its set counts."""
        images, repeated = [], []
        for name, times in self.sets.items():
            found = self._images_of(name)
            images += found
            repeated += found * times
        if self.num_objects > len(images):
            raise ValueError(
                f"StaticVOSDataset: {self.num_objects} objects a clip, but {len(images)} images"
            )
        self._distinct = images
        return repeated

    def prepare_data(self, idx: int) -> Any:
        """The image ``idx`` with others, through the pipeline."""
        info = self.get_data_info(idx)
        others = [image for image in self._draw() if image["img_path"] != info["img_path"]]
        info["others"] = [dict(image) for image in others[: self.num_objects - 1]]
        return self.pipeline(info)

    def _draw(self) -> list[dict]:
        """As many different images as there are objects: one of them may be the image itself."""
        chosen = np.random.choice(len(self._distinct), self.num_objects, replace=False)
        return [self._distinct[index] for index in chosen]

    def _images_of(self, name: str) -> list[dict]:
        images = Path(self.data_prefix["img_path"]) / name
        masks = Path(self.data_prefix["mask_path"]) / name
        files = images.rglob("*") if images.is_dir() else ()
        found = []
        for file in sorted(path for path in files if is_image(path)):
            mask = (masks / file.relative_to(images)).with_suffix(".png")
            if not mask.is_file():
                raise ValueError(f"StaticVOSDataset: {file} has no mask {mask}")
            stem = file.relative_to(images).with_suffix("").as_posix()
            found.append({"video": f"{name}/{stem}", "img_path": str(file), "mask_path": str(mask)})
        if not found:
            raise ValueError(f"StaticVOSDataset: set {name!r}: there are no images in {images}")
        return found
