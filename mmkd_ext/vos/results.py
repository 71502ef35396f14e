"""What is written of a video whose objects were followed."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from PIL import Image

from mmkd_ext.atomic_file import move_into_place, replacing
from mmkd_ext.vos.masks import Palette, write_mask
from mmkd_ext.vos.visualization import complete, overlay

CODEC = "mp4v"  # the one that every build of OpenCV writes


class ResultWriter:
    """Write masks and overlays, frame after frame; a context manager.

    ::

        <out_dir>/masks/<frame>.png      ids, indexed
        <out_dir>/overlay/<frame>.png    objects drawn over the frame
        <out_dir>/overlay.mp4            the same as a video

    No file is ever seen half written. The video gets its name in the end, also where the user
    stopped early; if there was an error there is none.

    Args:
        out_dir: Folder, made where missing. Files of the same name are replaced.
        palette: RGB of 0..255 of each id; what is missing is DAVIS's.
        fps: Of the video.
        overlays: Write them.
    """

    def __init__(
        self, out_dir: str | Path, palette: Palette | None, fps: float, overlays: bool = True
    ) -> None:
        self.out_dir = Path(out_dir).expanduser()
        self.palette = complete(palette)
        self.fps, self.overlays = fps, overlays
        self._video: cv2.VideoWriter | None = None

    def write(self, name: str, image: np.ndarray, ids: np.ndarray) -> None:
        """Write a frame's files.

        Args:
            name: Of the frame, without suffix.
            image: (H, W, 3) uint8 RGB.
            ids: (H, W) uint8.

        Raises:
            ValueError: The installed OpenCV cannot write videos.
        """
        path = self.out_dir / "masks" / f"{name}.png"
        write_mask(path, ids, self.palette)
        if not self.overlays:
            return
        drawn = overlay(image, ids, self.palette)
        folder = self.out_dir / "overlay"
        folder.mkdir(exist_ok=True)
        with replacing(folder / f"{name}.png", durable=False) as file:
            Image.fromarray(drawn).save(file, format="PNG", compress_level=1)
        if self._video is None:
            self._video = self._open(ids.shape)
        self._video.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._video is None:
            return
        self._video.release()
        self._video = None
        if kind is None or issubclass(kind, GeneratorExit):
            move_into_place(self._unfinished, self.out_dir / "overlay.mp4")
        else:
            self._unfinished.unlink(missing_ok=True)

    @property
    def _unfinished(self) -> Path:
        return self.out_dir / ".overlay.unfinished.mp4"  # OpenCV goes by the suffix

    def _open(self, shape: tuple[int, ...]) -> cv2.VideoWriter:
        code = cv2.VideoWriter.fourcc(*CODEC)
        video = cv2.VideoWriter(str(self._unfinished), code, self.fps, (shape[1], shape[0]))
        if not video.isOpened():
            raise ValueError(
                f"{self.out_dir}/overlay.mp4: OpenCV cannot write this video ({CODEC}, "
                f"{shape[1]}x{shape[0]}); go without overlays"
            )
        return video
