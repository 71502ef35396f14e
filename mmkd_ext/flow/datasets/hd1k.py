"""HD1K (Kondermann et al., "The HCI Benchmark Suite", CVPR Workshops 2016)."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from mmkd_ext.flow.datasets.base import FlowDataset
from mmkd_ext.flow.datasets.listing import check_consecutive, flow_files, match
from mmkd_ext.frames.files import frame_files
from mmkd_ext.registry import DATASETS


@DATASETS.register_module()
class HD1KDataset(FlowDataset):
    """HD1K as unpacked, all of it.

    ::

        <data_root>/hd1k_input/image_2/000000_0010.png         <sequence>_<frame>
        <data_root>/hd1k_flow_gt/flow_occ/000000_0010.png

    The flow of a sequence's last frame has no second image, and is not used. The ground truth is
    sparse.

    Takes the arguments of mmengine's ``BaseDataset``.

    Raises:
        ValueError: A folder is missing, a sequence has gaps, or images and flow do not match.
    """

    def find_pairs(self) -> list[dict]:
        """The pairs by sequence and frame."""
        folder = self.folder("hd1k_flow_gt", "flow_occ")
        images = frame_files(self.folder("hd1k_input", "image_2"))
        files = flow_files(folder)
        flows = {
            sequence: {path.stem: path for path in paths}
            for sequence, paths in groupby(files.values(), key=_sequence)
        }
        pairs, seen = [], set()
        for sequence, group in groupby(images, key=_sequence):
            frames = list(group)
            check_consecutive(frames)
            seen.add(sequence)
            names = [path.stem for path in frames]
            found = match(names, flows.get(sequence, {}), folder, last=True)
            pairs += [
                self.pair(frames[index], frames[index + 1], sequence, index, flow=flow, sparse=True)
                for index, flow in enumerate(found)
            ]
        surplus = [sequence for sequence in flows if sequence not in seen]
        if surplus:
            raise ValueError(f"{folder}: sequence {surplus[0]} has flow, but no images")
        return pairs


def _sequence(path: Path) -> str:
    sequence, _, frame = path.stem.partition("_")
    if not frame:
        raise ValueError(f"{path}: an image of HD1K is called <sequence>_<frame>.png")
    return sequence
