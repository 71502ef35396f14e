"""Following objects through videos with a trained network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
import torch
from mmengine.logging import print_log
from torch import nn

from mmkd_ext.distill.inference import network_for_inference
from mmkd_ext.frames.progress import error_console, progress_bar
from mmkd_ext.frames.source import FrameSource, check_image, open_frames
from mmkd_ext.frames.speed import MIB, SpeedMeter, SpeedReport
from mmkd_ext.vos.augmented_session import Session
from mmkd_ext.vos.data_preprocessor import VOSDataPreprocessor
from mmkd_ext.vos.given_masks import GivenMasks, as_ids
from mmkd_ext.vos.masks import Palette
from mmkd_ext.vos.results import ResultWriter

DEFAULT_FPS = 24.0


@dataclass
class FollowingReport(SpeedReport):
    """Of one video.

    Attributes:
        objects: That were followed in the end.
        session_bytes: What is kept from one frame to the next.
    """

    objects: int = 0
    session_bytes: int = 0

    def __str__(self) -> str:
        return (
            f"{self.speed}; {self.objects} objects in the end; kept between frames "
            f"{self.session_bytes / MIB:.2f} MiB, peak {self.peak_mib:.0f} MiB"
        )


class VOSInferencer:
    """Follow objects, given by their masks, through videos of any length.

    ::

        inferencer = VOSInferencer("config.py", "weights.pth")
        for ids in inferencer("video.mp4", masks={0: mask}, out_dir="out"):
            ...

    Or frame by frame, for cameras: :meth:`step`, :meth:`remove`, :meth:`reset`.

    Args:
        model: Config of the network: a path, ``'pkg::path'``, a dict; or the network itself, which
            is put into eval mode. Of a Distiller the student is taken. Images are normalised by
            its ``VOSDataPreprocessor``, or, if it has none, by that with default values.
        weights: Checkpoint; read without running code that it may hold. None: as they are.
        device: None: that of a network given as such, else the GPU if there is one.
        size: How large the network sees the frames: ``(height, width)``, the short side, or None
            for as they are. ``'config'``: what the model's ``test_cfg`` says.
        mem_every: Memorise every so many frames. None: what ``test_cfg`` says.
        scales, flip: Views whose mean is taken, see
            :class:`~mmkd_ext.vos.augmented_session.AugmentedSession`. None: what ``test_cfg`` says.
        amp: Compute in bfloat16 where that is safe.
        seed: Of the memory's initial keys. None: as in testing, by the model's seed and the name of
            the folder or file ('' for an iterable and for :meth:`step`).

    Raises:
        ValueError: The model is none of video object segmentation.
        CheckpointError: The weights cannot be read, or are of another network.
    """

    def __init__(
        self,
        model: str | PathLike | Mapping[str, Any] | nn.Module,
        weights: str | PathLike | None = None,
        device: str | torch.device | None = None,
        *,
        size: int | Sequence[int] | Literal["config"] | None = "config",
        mem_every: int | None = None,
        scales: Sequence[float] | None = None,
        flip: bool | None = None,
        amp: bool = False,
        seed: int | None = None,
    ) -> None:
        self.model, self._preprocessor = _network(model, weights, device)
        self.device = next(self.model.parameters()).device
        self._preprocessor.to(self.device)
        chosen = dict(mem_every=mem_every, scales=scales, flip=flip, seed=seed)
        self._options = {name: value for name, value in chosen.items() if value is not None}
        if size != "config":
            self._options["size"] = size
        self.amp = amp
        self.report: FollowingReport | None = None  # of the last video
        self.reset()

    def __call__(
        self,
        frames: Any,
        masks: Mapping[int | str, Any] | str | PathLike | None = None,
        out_dir: str | PathLike | None = None,
        *,
        overlays: bool = True,
        palette: Palette | None = None,
        fps: float | None = None,
        progress: bool = False,
    ) -> Iterator[np.ndarray]:
        """Begin a video; frames are read and written as the result is gone through.

        Args:
            frames: A folder of images, a video file, or an iterable of (H, W, 3) uint8 RGB.
            masks: Frame -> (H, W) ids of the objects that appear there, as an array or a PNG's
                path; or a folder of such PNGs. A frame is its index, or its name in a folder.
                The first frame has one. Objects that are followed already are not looked at.
            out_dir: Where :class:`~mmkd_ext.vos.results.ResultWriter` writes; None: nowhere.
            overlays: Write overlays, too.
            palette: Of what is written; None: that of the first mask file, or DAVIS's.
            fps: Of the overlay video; None: that of the video file, or 24.
            progress: Show a progress bar on a terminal, and the report in the end, on stderr.

        Returns:
            An iterator over (H, W) uint8 ids, one a frame. ``report`` is set when it ends, and
            ``session`` is this video's from now on.

        Raises:
            ValueError: No frames, an unreadable video, or masks that do not fit.
        """
        source = open_frames(frames)
        given = GivenMasks(masks, source)
        writer = None
        if out_dir is not None:
            rate = fps or source.fps or DEFAULT_FPS
            writer = ResultWriter(out_dir, palette or given.palette, rate, overlays)
        self.session = self._new_session(source.video)
        return self._follow(source, given, writer, self.session, progress)

    def step(self, image: np.ndarray, mask: Any = None) -> np.ndarray:
        """Take the next frame of the running video; without one, a video begins.

        Args:
            image: (H, W, 3) uint8 RGB.
            mask: (H, W) ids of objects that appear here, or None.

        Returns:
            (H, W) uint8 ids; all 0 as long as no object was given.

        Raises:
            ValueError: Image or mask do not fit.
        """
        where = f"frame {self.session.frame}"
        if mask is not None:
            mask = as_ids(mask, f"the mask of {where}")
        return self._step(self.session, check_image(image, where), mask)

    def remove(self, ids: int | Sequence[int]) -> None:
        """Follow these objects of the running video no longer.

        Raises:
            ValueError: An id that is not followed.
        """
        self.session.remove(ids)

    def reset(self) -> None:
        """End the running video; the next :meth:`step` begins another."""
        self.session: Session = self._new_session("")

    def _new_session(self, video: str) -> Session:
        return self.model.new_session(video, **self._options)

    def _step(self, session: Session, image: np.ndarray, mask: Any) -> np.ndarray:
        pixels = torch.tensor(np.ascontiguousarray(image), device=self.device).permute(2, 0, 1)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            ids = session.step(self._preprocessor.normalize(pixels), mask)
        return ids.cpu().numpy()

    def _follow(
        self,
        source: FrameSource,
        given: GivenMasks,
        writer: ResultWriter | None,
        session: Session,
        progress: bool,
    ) -> Iterator[np.ndarray]:
        meter = SpeedMeter(self.device, FollowingReport())
        try:
            with ExitStack() as stack:
                advance = stack.enter_context(
                    progress_bar(source.video or "video", source.total, progress)
                )
                if writer is not None:
                    stack.enter_context(writer)
                for index, (name, image) in enumerate(source.frames):
                    image = check_image(image, f"frame {name}")
                    try:
                        mask = given.read(index, image.shape[:2])
                        with meter.frame():
                            ids = self._step(session, image, mask)
                    except ValueError as error:
                        raise ValueError(f"frame {name}: {error}") from error
                    if index == 0 and not session.objects:
                        raise ValueError(f"frame {name}: the first frame's mask holds no object")
                    if writer is not None:
                        writer.write(name, image, ids)
                    advance(f"{len(session.objects)} objects, {meter.report.fps:.1f} frames/s")
                    yield ids
            late = given.beyond(index + 1)
            if late:
                print_log(
                    f"VOSInferencer: the video has {index + 1} frames; the masks of frames {late} "
                    "were not used",
                    logger="current",
                    level=30,
                )
        finally:
            meter.finish()
            self.report = meter.report
            self.report.objects = len(session.objects)
            self.report.session_bytes = session.num_bytes
        if progress:
            error_console().print(f"{source.video or 'video'}: {self.report}", highlight=False)


def _network(model: Any, weights: Any, device: Any) -> tuple[nn.Module, VOSDataPreprocessor]:
    """The network alone, and what normalises its images."""
    model, preprocessor = network_for_inference(model, weights, device, "VOSInferencer")
    if not hasattr(model, "new_session"):
        raise ValueError(
            f"VOSInferencer: {type(model).__name__} is no network of video object segmentation; "
            "give one such as SWEM"
        )
    preprocessor = preprocessor or VOSDataPreprocessor()
    if not isinstance(preprocessor, VOSDataPreprocessor):
        raise ValueError(
            f"VOSInferencer: the model's data preprocessor is {type(preprocessor).__name__}; "
            "frames are normalised by a VOSDataPreprocessor"
        )
    return model, preprocessor
