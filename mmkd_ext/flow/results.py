"""What is written of the flow of a video."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from mmkd_ext.atomic_file import replacing
from mmkd_ext.flow.color import flow_to_color
from mmkd_ext.flow.formats import SUFFIXES, read_flow, write_flow
from mmkd_ext.flow.warp import warp


class FlowWriter:
    """Write flow, its colours and a check, pair after pair; a context manager.

    ::

        <out_dir>/flow/<frame>.flo      or .png as KITTI has it, or .pfm
        <out_dir>/color/<frame>.png     one scale for all; in the end, or at once if it is given
        <out_dir>/warped/<frame>.png    the second image, warped back: it should look like the first

    A frame is that from which the flow goes. No file is ever seen half written.

    Args:
        out_dir: Folder, made where missing. Files of the same name are replaced.
        suffix: ``'.flo'``, ``'.png'`` or ``'.pfm'``.
        colors: Write colours. Their scale is the longest vector of all pairs, so they come in the
            end; also where the user stopped early.
        warped: Write the check.
        max_radius: Length of the vectors, in pixels, that get the full colour.

    Raises:
        ValueError: An unknown suffix, or a radius that is not positive.
    """

    def __init__(
        self,
        out_dir: str | PathLike,
        suffix: str = ".flo",
        colors: bool = True,
        warped: bool = False,
        max_radius: float | None = None,
    ) -> None:
        if suffix not in SUFFIXES:
            raise ValueError(f"FlowWriter: suffix is one of {', '.join(SUFFIXES)}, not {suffix!r}")
        if max_radius is not None and not max_radius > 0:
            raise ValueError(f"FlowWriter: max_radius is a length above 0, not {max_radius!r}")
        self.out_dir = Path(out_dir).expanduser()
        self.suffix, self.colors, self.warped = suffix, colors, warped
        self.max_radius = max_radius
        self._written: set[str] = set()
        self._waiting: list[str] = []  # frames whose colours have no scale yet
        self._longest = 0.0
        self._differences: list[tuple[float, float]] = []

    def write(self, name: str, image1: np.ndarray, image2: np.ndarray, flow: np.ndarray) -> None:
        """Write a pair's files.

        Args:
            name: Of the first frame, without suffix.
            image1: (H, W, 3) uint8 RGB.
            image2: The same.
            flow: (H, W, 2), in pixels.

        Raises:
            ValueError: A frame of this name was written before.
        """
        if name in self._written:
            raise ValueError(
                f"{self._flow_path(name)}: two frames are called {name}; frames of one video have "
                "names of their own"
            )
        self._written.add(name)
        write_flow(self._flow_path(name), flow)
        self._longest = max(self._longest, float(np.linalg.norm(flow, axis=2).max()))
        if self.colors and self.max_radius is not None:
            self._write_image("color", name, flow_to_color(flow, max_radius=self.max_radius))
        elif self.colors:
            self._waiting.append(name)
        if self.warped:
            back, outside = warp(image2, flow)
            self._write_image("warped", name, back)
            first = image1.astype(np.float32)
            inside = ~outside
            if inside.any():
                pair = (np.abs(first - other)[inside].mean() for other in (image2, back))
                self._differences.append(tuple(map(float, pair)))

    def differences(self) -> tuple[float, float]:
        """Mean absolute difference of a pair's images, before and after warping; in 0..255."""
        if not self._differences:
            return 0.0, 0.0
        before, after = np.mean(self._differences, axis=0)
        return float(before), float(after)

    def __enter__(self) -> FlowWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        radius = self._longest or None
        for name in self._waiting:
            flow, _ = read_flow(self._flow_path(name))
            self._write_image("color", name, flow_to_color(flow, max_radius=radius))
        self._waiting.clear()

    def _flow_path(self, name: str) -> Path:
        return self.out_dir / "flow" / f"{name}{self.suffix}"

    def _write_image(self, folder: str, name: str, image: np.ndarray) -> None:
        path = self.out_dir / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        with replacing(path, durable=False) as file:
            file.write(encoded.tobytes())
