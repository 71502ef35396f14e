"""How fast a video was gone through, and in how much memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

MIB = 1024**2


@dataclass
class SpeedReport:
    """Of one video.

    Attributes:
        frames: That were gone through.
        seconds: For all of them; reading and writing files does not count.
        peak_mib: Highest memory: of the GPU since the video began, else of the process in its life.
        device: Where.
    """

    frames: int = 0
    seconds: float = 0.0
    peak_mib: float = 0.0
    device: str = "cpu"

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        return f"{self.speed}; peak {self.peak_mib:.0f} MiB"

    @property
    def speed(self) -> str:
        """Frames and their speed, in words."""
        return f"{self.frames} frames, {self.fps:.2f} frames per second on {self.device}"


class SpeedMeter:
    """Time the frames of a video; other work between them does not count.

    Args:
        device: Where the work is done; it is waited for.
        report: What is filled in.
    """

    def __init__(self, device: torch.device, report: SpeedReport) -> None:
        self.report = report
        self.report.device = str(device)
        self._device = device
        reset_peak(device)

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Around the work for one frame."""
        wait(self._device)
        began = time.perf_counter()
        yield
        wait(self._device)
        self.report.seconds += time.perf_counter() - began
        self.report.frames += 1

    def finish(self) -> None:
        """Note the memory."""
        self.report.peak_mib = peak_mib(self._device)


def reset_peak(device: torch.device) -> None:
    """Forget the GPU's highest memory; that of a process cannot be forgotten."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> float:
    """Highest memory: of the GPU since :func:`reset_peak`, else of the process in its life."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
