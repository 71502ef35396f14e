"""Flow of images and videos, with a trained network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmkd_ext.distill.inference import network_for_inference
from mmkd_ext.flow.data_preprocessor import FlowDataPreprocessor, unpad
from mmkd_ext.flow.results import FlowWriter
from mmkd_ext.flow.warm_start import forward_project
from mmkd_ext.frames.progress import error_console, progress_bar
from mmkd_ext.frames.reading import read_image
from mmkd_ext.frames.source import FrameSource, check_image, open_frames
from mmkd_ext.frames.speed import SpeedMeter, SpeedReport


@dataclass
class FlowReport(SpeedReport):
    """Of one video, whose pairs are its "frames".

    Attributes:
        difference: Mean absolute difference of the images of a pair, in grey levels.
        warped_difference: The same after the second was warped back by the flow, where that is
            inside the image. It falls if the flow is any good.
    """

    difference: float = 0.0
    warped_difference: float = 0.0

    def __str__(self) -> str:
        text = super().__str__().replace("frames", "pairs")
        if not self.warped_difference:
            return text
        return (
            f"{text}; mean difference of a pair's images {self.difference:.2f}, "
            f"{self.warped_difference:.2f} after warping"
        )


class FlowInferencer:
    """Estimate optical flow.

    ::

        inferencer = FlowInferencer("config.py", "weights.pth")
        flow = inferencer(image1, image2)
        for flow in inferencer.video("video.mp4", out_dir="out"):
            ...

    Args:
        model: Config of the network: a path, ``'pkg::path'``, a dict; or the network itself, which
            is put into eval mode. Of a Distiller the student is taken. Images are padded and
            normalised by its ``FlowDataPreprocessor``.
        weights: Checkpoint; read without running code that it may hold. None: as they are.
        device: None: that of a network given as such, else the GPU if there is one.
        iters: Iterations; None: what the model's ``test_cfg`` says.
        warm_start: In videos begin with the flow of the pair before, projected forward. None: what
            ``test_cfg`` says.
        amp: Compute in bfloat16 where that is safe.

    Raises:
        ValueError: The model is none of optical flow.
        CheckpointError: The weights cannot be read, or are of another network.
    """

    def __init__(
        self,
        model: str | PathLike | Mapping[str, Any] | Config | nn.Module,
        weights: str | PathLike | None = None,
        device: str | torch.device | None = None,
        *,
        iters: int | None = None,
        warm_start: bool | None = None,
        amp: bool = False,
    ) -> None:
        self.model, preprocessor = network_for_inference(model, weights, device, "FlowInferencer")
        if not hasattr(self.model, "estimate"):
            raise ValueError(
                f"FlowInferencer: {type(self.model).__name__} is no network of optical flow; give "
                "one such as RAFT"
            )
        if not isinstance(preprocessor, FlowDataPreprocessor):
            raise ValueError(
                f"FlowInferencer: the model's data preprocessor is {type(preprocessor).__name__}; "
                "image pairs are padded and normalised by a FlowDataPreprocessor"
            )
        self._preprocessor = preprocessor
        self.device = next(self.model.parameters()).device
        self.iters = self.model.test_cfg["iters"] if iters is None else iters
        if isinstance(self.iters, bool) or not isinstance(self.iters, int) or self.iters < 1:
            raise ValueError(f"FlowInferencer: iters is an integer >= 1, not {iters!r}")
        self.warm_start = self.model.test_cfg["warm_start"] if warm_start is None else warm_start
        self.amp = amp
        self.report: FlowReport | None = None  # of the last video

    def __call__(
        self,
        image1: np.ndarray | str | PathLike,
        image2: np.ndarray | str | PathLike,
        start: Tensor | None = None,
    ) -> np.ndarray:
        """The flow from one image to another.

        Args:
            image1: (H, W, 3) uint8 RGB, or a file.
            image2: The same, of the same size.
            start: Flow (2, h, w) at an eighth of the padded size to begin with; None: 0.

        Returns:
            (H, W, 2) float32, in pixels, u to the right, then v downwards.

        Raises:
            ValueError: Images that cannot be read, or of different sizes.
        """
        return self._estimate(_image(image1, "image1"), _image(image2, "image2"), start)[0]

    def video(
        self,
        frames: Any,
        out_dir: str | PathLike | None = None,
        *,
        progress: bool = False,
        **writing: Any,
    ) -> Iterator[np.ndarray]:
        """The flow from each frame to the next, one at a time.

        Args:
            frames: A folder of images, a video file, or an iterable of (H, W, 3) uint8 RGB.
            out_dir: Where :class:`~mmkd_ext.flow.results.FlowWriter` writes; None: nowhere.
            progress: Show a progress bar on a terminal, and the report in the end, on stderr.
            **writing: Of that writer: ``suffix``, ``colors``, ``warped``, ``max_radius``.

        Returns:
            An iterator over flows (H, W, 2), one fewer than there are frames. ``report`` is set
            when it ends.

        Raises:
            ValueError: Fewer than two frames, an unreadable video, or frames of several sizes.
        """
        source = open_frames(frames)
        writer = None if out_dir is None else FlowWriter(out_dir, **writing)
        return self._pairs(source, writer, progress)

    def _pairs(
        self, source: FrameSource, writer: FlowWriter | None, progress: bool
    ) -> Iterator[np.ndarray]:
        meter = SpeedMeter(self.device, FlowReport())
        total = None if source.total is None else source.total - 1
        before, low = None, None
        try:
            with ExitStack() as stack:
                advance = stack.enter_context(
                    progress_bar(source.video or "video", total, progress)
                )
                if writer is not None:
                    stack.enter_context(writer)
                for name, image in source.frames:
                    image = check_image(image, f"frame {name}")
                    if before is not None:
                        try:
                            with meter.frame():
                                start = forward_project(low) if low is not None else None
                                flow, low = self._estimate(before[1], image, start)
                        except ValueError as error:
                            raise ValueError(f"frames {before[0]} and {name}: {error}") from error
                        low = low if self.warm_start else None
                        if writer is not None:
                            writer.write(before[0], before[1], image, flow)
                        advance(f"{meter.report.fps:.1f} pairs/s")
                        yield flow
                    before = name, image
            if not meter.report.frames:
                raise ValueError(
                    f"{source.video or 'frames'}: one frame only; flow goes from each to the next"
                )
        finally:
            meter.finish()
            self.report = meter.report
            if writer is not None:
                self.report.difference, self.report.warped_difference = writer.differences()
        if progress:
            error_console().print(f"{source.video or 'video'}: {self.report}", highlight=False)

    @torch.no_grad()
    def _estimate(
        self, image1: np.ndarray, image2: np.ndarray, start: Tensor | None
    ) -> tuple[np.ndarray, Tensor]:
        """Flow (H, W, 2), and (2, h, w) before upsampling."""
        if image1.shape != image2.shape:
            raise ValueError(
                f"the images differ in size (height x width): {image1.shape[0]} x "
                f"{image1.shape[1]} and {image2.shape[0]} x {image2.shape[1]}"
            )
        pair = torch.from_numpy(np.stack([image1, image2])).permute(0, 3, 1, 2)
        data = self._preprocessor(dict(inputs=[pair]))
        start = None if start is None else start.to(self.device)[None]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            flows, low = self.model.estimate(data["inputs"], self.iters, start, last_only=True)
        flow = unpad(flows[-1][0], data["data_samples"][0].pad)
        return flow.permute(1, 2, 0).float().cpu().numpy(), low[0]


def _image(image: Any, name: str) -> np.ndarray:
    if isinstance(image, (str, PathLike)):
        return read_image(str(image))
    return check_image(image, name)
