"""Middlebury (Baker et al., "A Database and Evaluation Methodology for Optical Flow", 2011)."""

from __future__ import annotations

from pathlib import Path

from mmkd_ext.flow.datasets.base import FlowDataset
from mmkd_ext.flow.datasets.listing import subfolders
from mmkd_ext.registry import DATASETS


@DATASETS.register_module()
class MiddleburyDataset(FlowDataset):
    """The public sequences with ground truth; others beside them are passed over.

    ::

        <data_root>/other-data/RubberWhale/frame10.png, frame11.png
        <data_root>/other-gt-flow/RubberWhale/flow10.flo

    Each pair is a sequence of its own.

    Takes the arguments of mmengine's ``BaseDataset``.

    Raises:
        ValueError: A folder or file is missing.
    """

    def find_pairs(self) -> list[dict]:
        """The pairs by scene."""
        images = self.folder("other-data")
        return [
            self.pair(
                _file(images / scene.name / "frame10.png"),
                _file(images / scene.name / "frame11.png"),
                scene.name,
                0,
                flow=_file(scene / "flow10.flo"),
            )
            for scene in subfolders(self.folder("other-gt-flow"))
        ]


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of a Middlebury sequence")
    return path
