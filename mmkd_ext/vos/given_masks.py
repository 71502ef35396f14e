"""The masks that a user gives, by frame."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mmkd_ext.frames.source import FrameSource
from mmkd_ext.vos.datasets.video import mask_files
from mmkd_ext.vos.masks import read_mask, read_palette


class GivenMasks:
    """Masks of ids by frame; those in files are read when their frame comes.

    Args:
        masks: Frame -> (H, W) integer ids, or the path of a mask file; or a folder of mask files
            called ``<frame>.png``. A frame is its index, or in a folder of frames its name without
            suffix. Of a video file or an iterable the names are the numbers: ``00013.png``.
        source: The frames.

    Attributes:
        palette: Of the first mask file that has one; None without.

    Raises:
        ValueError: A mask belongs to no frame or is none, or the first frame has none.
    """

    def __init__(
        self, masks: Mapping[int | str, Any] | str | PathLike | None, source: FrameSource
    ) -> None:
        if isinstance(masks, (str, PathLike)):
            masks = _of_folder(Path(masks).expanduser())
        elif masks is not None and not isinstance(masks, Mapping):
            raise ValueError(
                "masks is {frame: (H, W) ids} or a folder of indexed PNGs, not "
                f"{type(masks).__name__}"
            )
        self._masks: dict[int, Any] = {}
        places = {name: index for index, name in enumerate(source.names or ())}
        for frame, mask in (masks or {}).items():
            index = places.get(frame) if isinstance(frame, str) else None
            index = _index(frame, source) if index is None else index
            if index in self._masks:
                raise ValueError(f"masks: two masks are given for frame {index}")
            is_file = isinstance(mask, (str, PathLike))
            self._masks[index] = mask if is_file else as_ids(mask, f"the mask of frame {frame!r}")
        if 0 not in self._masks:
            raise ValueError(_no_first(self._masks, source))
        files = (self._masks[index] for index in sorted(self._masks))
        files = (file for file in files if isinstance(file, (str, PathLike)))
        self.palette = next(filter(None, map(read_palette, files)), None)

    def read(self, index: int, shape: tuple[int, int]) -> np.ndarray | None:
        """The mask of a frame of that (H, W), or None."""
        mask = self._masks.get(index)
        return read_mask(mask, shape) if isinstance(mask, (str, PathLike)) else mask

    def beyond(self, length: int) -> list[int]:
        """The frames that have a mask though the video ended before."""
        return sorted(index for index in self._masks if index >= length)


def as_ids(mask: Any, what: str) -> np.ndarray:
    """A mask as an array of integers (H, W) of its own.

    Raises:
        ValueError: It is something else.
    """
    array = mask.cpu().numpy() if isinstance(mask, Tensor) else mask
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "ui":
        shape = getattr(array, "shape", None)
        kind = getattr(array, "dtype", type(array).__name__)
        raise ValueError(
            f"{what} is {kind}{'' if shape is None else f' of shape {tuple(shape)}'}, but a mask "
            "is (H, W) of integer ids, 0 = background"
        )
    return np.array(array, dtype=np.uint8 if array.dtype == np.uint8 else np.int64)


def _of_folder(folder: Path) -> dict[str, Path]:
    files = mask_files(folder)
    if not files:
        raise ValueError(
            f"{folder}: there is no mask (<frame>.png)"
            if folder.is_dir()
            else f"{folder}: there is no such folder of masks"
        )
    return {file.stem: file for file in files}


def _index(frame: Any, source: FrameSource) -> int:
    """The index of a frame that is given by number, or by a name that no frame of a folder has."""
    if isinstance(frame, str):
        if source.names is not None:
            raise ValueError(
                f"masks: no frame of {source.video!r} is called {frame!r}; they are called "
                f"{source.names[0]!r} ... {source.names[-1]!r}"
            )
        if frame.isdecimal():
            return int(frame)
        raise ValueError(
            f"masks: {frame!r} is not the number of a frame; only the frames of a folder have names"
        )
    if isinstance(frame, bool) or not isinstance(frame, (int, np.integer)) or frame < 0:
        raise ValueError(f"masks: a frame is its index from 0 or its name, not {frame!r}")
    if source.names is not None and frame >= len(source.names):
        raise ValueError(f"masks: there is no frame {frame}; there are {len(source.names)}")
    return int(frame)


def _no_first(masks: Mapping[int, Any], source: FrameSource) -> str:
    name = "0" if source.names is None else repr(source.names[0])
    found = f"the earliest is of frame {min(masks)}" if masks else "there is no mask at all"
    return (
        f"masks: no mask for the first frame ({name}); {found}. Give one there, or begin the "
        "video with the frame that has one"
    )
