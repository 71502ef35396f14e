"""MPI Sintel (Butler et al., "A Naturalistic Open Source Movie for Optical Flow", ECCV 2012)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmkd_ext.flow.datasets.base import FlowDataset
from mmkd_ext.flow.datasets.listing import (
    common_subfolders,
    flow_files,
    frame_number,
    image_sequence,
    match,
    subfolders,
)
from mmkd_ext.registry import DATASETS


@DATASETS.register_module()
class SintelDataset(FlowDataset):
    """Sintel as unpacked.

    ::

        <data_root>/training/<pass>/alley_1/frame_0001.png
        <data_root>/training/flow/alley_1/frame_0001.flo
        <data_root>/training/{occlusions,invalid}/alley_1/frame_0001.png      if there are any
        <data_root>/test/<pass>/ambush_1/frame_0001.png                       no ground truth

    Args:
        split: ``'train'`` or ``'val'``, as the split file says; ``'trainval'``: all of
            ``training`` (1,041 pairs a pass); ``'test'`` (552).
        render_pass: ``'clean'``, ``'final'`` or, of ``training`` only, ``'albedo'``.
        split_file: Relative to ``data_root``: a line for each pair of ``training``, by scene and
            frame, 1 (train) or 2 (val). Sintel has none of its own.
        invalid: Leave out of the ground truth what Sintel's masks call invalid. The usual figures
            count these pixels.
        **kwargs: Of mmengine's ``BaseDataset``.

    Raises:
        ValueError: A folder is missing, a scene has gaps, images and flow do not match, or the
            split file is missing or does not fit.
    """

    def __init__(
        self,
        split: str = "trainval",
        render_pass: str = "clean",
        split_file: str | None = None,
        invalid: bool = False,
        **kwargs: Any,
    ) -> None:
        self.split = self.choose(split, "split", ("train", "val", "trainval", "test"))
        passes = ("clean", "final") if split == "test" else ("clean", "final", "albedo")
        self.render_pass = self.choose(render_pass, f"render_pass of {split!r}", passes)
        if split in ("train", "val") and split_file is None:
            raise ValueError(
                f"SintelDataset: split={split!r} needs a split_file; 'trainval' is all of training"
            )
        self.split_file = split_file
        self.invalid = invalid
        super().__init__(**kwargs)

    def find_pairs(self) -> list[dict]:
        """The pairs by scene and frame."""
        folder = self.folder("test" if self.split == "test" else "training")
        images = self.folder(folder.name, self.render_pass)
        test = self.split == "test"
        scenes = subfolders(images) if test else common_subfolders(images, folder / "flow")
        pairs = [pair for scene in scenes for pair in self._scene(folder, scene)]
        if self.split in ("train", "val"):
            return self.split_pairs(pairs, self.split, self.split_file, images)
        return pairs

    def _scene(self, folder: Path, scene: Path) -> list[dict]:
        frames = image_sequence(scene)
        names = [path.stem for path in frames]
        files: dict[str, list[Path]] = {}
        if self.split != "test":
            where = folder / "flow" / scene.name
            files["flow"] = match(names, flow_files(where), where, last=False)
            if (folder / "occlusions").is_dir():
                files["occlusion"] = _masks(folder / "occlusions" / scene.name, names)
            if self.invalid:
                files["invalid"] = _masks(folder / "invalid" / scene.name, names)
        sequence = f"{self.render_pass}/{scene.name}"
        return [
            self.pair(
                frames[index],
                frames[index + 1],
                sequence,
                index,
                result=f"{sequence}/frame{frame_number(frames[index]):04d}.flo",
                subset=self.render_pass,
                **{kind: paths[index] for kind, paths in files.items()},
            )
            for index in range(len(frames) - 1)
        ]


def _masks(folder: Path, names: list[str]) -> list[Path]:
    """The masks of a scene: of each frame but the last, or of each frame."""
    found = flow_files(folder)
    return match(names, found, folder, last=names[-1] in found)
