"""FlyingThings3D (Mayer et al., "A Large Dataset to Train Convolutional Networks", CVPR 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkd_ext.flow.datasets.base import FlowDataset
from mmkd_ext.flow.datasets.listing import (
    common_subfolders,
    flow_files,
    frame_number,
    image_sequence,
    match,
)
from mmkd_ext.registry import DATASETS


@DATASETS.register_module()
class FlyingThings3DDataset(FlowDataset):
    """FlyingThings3D, the full dataset.

    ::

        <data_root>/frames_cleanpass/TRAIN/A/0000/left/0006.png
        <data_root>/optical_flow/TRAIN/A/0000/into_future/left/OpticalFlowIntoFuture_0006_L.pfm
        <data_root>/optical_flow/TRAIN/A/0000/into_past/left/OpticalFlowIntoPast_0007_L.pfm

    Each direction of each camera is a sequence; the one into the past runs backwards. With both
    directions of one camera, ``'train'`` of the original has 40,302 pairs a pass.

    Args:
        split: ``'train'`` or ``'test'``.
        render_pass: ``'clean'`` or ``'final'``.
        directions: Of ``'future'`` and ``'past'``.
        cameras: Of ``'left'`` and ``'right'``.
        **kwargs: Of mmengine's ``BaseDataset``.

    Raises:
        ValueError: A folder is missing, a sequence has gaps, or images and flow do not match.
    """

    def __init__(
        self,
        split: str = "train",
        render_pass: str = "clean",
        directions: Sequence[str] = ("future", "past"),
        cameras: Sequence[str] = ("left",),
        **kwargs: Any,
    ) -> None:
        self.split = self.choose(split, "split", ("train", "test"))
        self.render_pass = self.choose(render_pass, "render_pass", ("clean", "final"))
        self.directions = [self.choose(d, "a direction", ("future", "past")) for d in directions]
        self.cameras = [self.choose(c, "a camera", ("left", "right")) for c in cameras]
        super().__init__(**kwargs)

    def find_pairs(self) -> list[dict]:
        """The pairs by letter, scene, camera and direction."""
        split = self.split.upper()
        images = self.folder(f"frames_{self.render_pass}pass", split)
        flows = self.folder("optical_flow", split)
        scenes = [
            scene
            for letter in common_subfolders(images, flows)
            for scene in common_subfolders(letter, flows / letter.name)
        ]
        pairs = []
        for scene in scenes:
            name = scene.relative_to(images).as_posix()
            for camera in self.cameras:
                frames = image_sequence(scene / camera)
                for direction in self.directions:
                    sequence = f"{self.render_pass}/{name}/{camera}/{direction}"
                    where = flows / name / f"into_{direction}" / camera
                    pairs += self._sequence(sequence, frames, where, direction)
        return pairs

    def _sequence(
        self, sequence: str, frames: list[Path], folder: Path, direction: str
    ) -> list[dict]:
        # The names of flow files hold their frame's number between other words.
        flows = {str(frame_number(path)): path for path in flow_files(folder).values()}
        ordered = frames if direction == "future" else frames[::-1]
        names = [str(frame_number(path)) for path in ordered]
        # Flow out of the last frame, whose next one was not rendered, is there as well.
        found = match(names, flows, folder, last=True)
        return [
            self.pair(ordered[index], ordered[index + 1], sequence, index, flow=flow)
            for index, flow in enumerate(found)
        ]
