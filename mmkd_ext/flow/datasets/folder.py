"""Image pairs of one's own: folders of frames, or a list of pairs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from mmkd_ext.flow.datasets.base import FlowDataset
from mmkd_ext.flow.datasets.listing import existing, flow_files
from mmkd_ext.frames.files import frame_files, natural
from mmkd_ext.registry import DATASETS

FILES = ("flow", "noc", "occlusion", "invalid")
KEYS = ("img1", "img2", "sequence", "subset", *FILES)


@DATASETS.register_module()
class FlowFolderDataset(FlowDataset):
    """Folders of frames, each frame with the next a pair, with or without ground truth.

    ::

        <img_path>/<sequence>/<frame>.png (or .jpg, ...)     frames in natural order
        <flow_path>/<sequence>/<frame>.flo (or .pfm, .png)   of each frame but the last

    A sequence is any folder with images at or below ``img_path``; it is called by its path from
    there, and ``img_path`` itself by its own name. For anything else ``ann_file`` is a json file
    with a list of pairs, which then is all there is::

        [{"img1": "a/1.png", "img2": "a/2.png", "flow": "a/1.flo", "sequence": "a"}, ...]

    where ``flow`` and ``sequence`` are optional, and so are ``subset``, ``noc``, ``occlusion`` and
    ``invalid`` (see :meth:`FlowDataset.pair`). Images are relative to ``img_path``, the others to
    ``flow_path``. Pairs of a sequence stand in their order; without one a pair is its own.

    Args:
        ann_file: The json file; '' for folders.
        data_prefix: ``img_path`` and, where there is ground truth, ``flow_path``, relative to
            ``data_root``. Default: ``data_root`` itself, and no ground truth of folders.
        sparse: Whether the ground truth is sparse; None: where its files are PNGs.
        **kwargs: Of mmengine's ``BaseDataset``.

    Raises:
        ValueError: A folder or file is missing, a sequence has a single frame, a frame has no
            flow, or the json file holds something else.
    """

    def __init__(
        self,
        ann_file: str = "",
        *,
        data_prefix: dict | None = None,
        sparse: bool | None = None,
        **kwargs: Any,
    ) -> None:
        self.sparse = sparse
        super().__init__(ann_file, data_prefix={"img_path": "", **(data_prefix or {})}, **kwargs)

    def find_pairs(self) -> list[dict]:
        """The pairs of the list, or by sequence and frame."""
        if self.ann_file:
            return self._listed(Path(self.ann_file))
        root = existing(Path(self.data_prefix["img_path"]))
        return [pair for folder in _image_folders(root) for pair in self._sequence(root, folder)]

    def _sequence(self, root: Path, folder: Path) -> list[dict]:
        frames = frame_files(folder)
        if len(frames) < 2:
            raise ValueError(f"{folder}: a single image; a sequence has two or more")
        place = folder.relative_to(root)
        flows = None
        if "flow_path" in self.data_prefix:
            where = Path(self.data_prefix["flow_path"]) / place
            flows = flow_files(where, set(frames))  # the folder may be the same
            for frame in frames[:-1]:
                if frame.stem not in flows:
                    raise ValueError(f"{where}: there is no flow of frame {frame}")
        name = place.as_posix() if place.parts else root.resolve().name
        pairs = []
        for index, (img1, img2) in enumerate(pairwise(frames)):
            flow = None if flows is None else flows[img1.stem]
            pairs.append(
                self.pair(img1, img2, name, index, flow=flow, sparse=self._is_sparse(flow))
            )
        return pairs

    def _listed(self, path: Path) -> list[dict]:
        if not path.is_file():
            raise ValueError(f"{path}: there is no such list of pairs")
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: not a json file ({error})") from error
        if not isinstance(entries, list):
            raise ValueError(f"{path}: wants a list of pairs, not a {type(entries).__name__}")
        images = Path(self.data_prefix["img_path"])
        others = Path(self.data_prefix.get("flow_path", self.data_root or ""))
        pairs: list[dict] = []
        places: Counter[str] = Counter()
        for number, entry in enumerate(entries):
            where = f"{path}: pair {number}"
            _check_entry(entry, where)
            sequence = entry.get("sequence", f"{number:06d}")
            files = {kind: _file(others, entry[kind], where) for kind in FILES if kind in entry}
            pairs.append(
                self.pair(
                    _file(images, entry["img1"], where),
                    _file(images, entry["img2"], where),
                    sequence,
                    places[sequence],
                    sparse=self._is_sparse(files.get("flow")),
                    subset=entry.get("subset"),
                    **files,
                )
            )
            places[sequence] += 1
        return pairs

    def _is_sparse(self, flow: Path | None) -> bool:
        if self.sparse is not None:
            return self.sparse
        return flow is not None and flow.suffix.lower() == ".png"


def _image_folders(root: Path) -> Iterator[Path]:
    """The folders with images at or below ``root``, in natural order."""
    for folder, below, _ in os.walk(root, followlinks=True):
        below[:] = sorted((name for name in below if not name.startswith(".")), key=natural)
        if frame_files(Path(folder)):
            yield Path(folder)


def _check_entry(entry: Any, where: str) -> None:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise ValueError(f"{where}: a pair is an object of strings, not {entry!r}")
    unknown = sorted(set(entry) - set(KEYS))
    missing = [key for key in ("img1", "img2") if key not in entry]
    if unknown or missing:
        problem = f"no {missing[0]!r}" if missing else f"an unknown key {unknown[0]!r}"
        raise ValueError(f"{where}: {problem}; a pair has {', '.join(KEYS)}")
    if ".." in (parts := PurePosixPath(entry.get("sequence", ".")).parts) or "/" in parts:
        raise ValueError(f"{where}: 'sequence' is the folder of result files; no / before, no ..")
    extra = [kind for kind in FILES[1:] if kind in entry and "flow" not in entry]
    if extra:
        raise ValueError(f"{where}: {extra[0]!r} without 'flow'")


def _file(root: Path, name: str, where: str) -> Path:
    path = root / name
    if not path.is_file():
        raise ValueError(f"{where}: there is no file {path}")
    return path
