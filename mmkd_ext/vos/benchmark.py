"""What a frame costs: time and memory of sessions on made-up videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor

from mmkd_ext.frames.speed import MIB, SpeedMeter, SpeedReport, peak_mib, reset_peak

from .models.network import SWEMNetwork
from .session import VOSSession


@dataclass
class FrameCosts:
    """Of one video, a number a frame.

    Attributes:
        seconds: That the frame took, the first frame's mask included.
        session_mib: What the session kept after the frame.
        peak_mib: Highest memory while the frame was gone through: of the GPU; without one, of the
            process in its life.
    """

    seconds: list[float] = field(default_factory=list)
    session_mib: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)

    @property
    def fps(self) -> float:
        """Frames per second."""
        return len(self.seconds) / sum(self.seconds)

    def around(self, frame: int, width: int = 15) -> float:
        """Median of the seconds of the ``width`` frames about one."""
        half = width // 2
        return median(self.seconds[max(frame - half, 0) : frame + half + 1])


def follow(
    model: SWEMNetwork,
    frames: int,
    size: Sequence[int],
    objects: int = 1,
    amp: bool = False,
    **options: Any,
) -> FrameCosts:
    """Follow objects through a made-up video and note what each frame costs.

    The frames lie on the model's device before they are timed, and the device is waited for before
    and after each.

    Args:
        model: In eval mode.
        frames: Length of the video.
        size: Height and width of its frames, in pixels.
        objects: How many there are, from the first frame on.
        amp: Compute in bfloat16 where that is safe.
        options: Of :class:`~mmkd_ext.vos.session.VOSSession`.

    Raises:
        ValueError: More objects than fit, or what the session refuses.
    """
    device = next(model.parameters()).device
    session, meter = VOSSession(model, **options), SpeedMeter(device, SpeedReport())
    costs, mask = FrameCosts(), stripes(size, objects).to(device)
    for frame, image in enumerate(noise(frames, size)):
        image, before = image.to(device), meter.report.seconds
        reset_peak(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=amp), meter.frame():
            session.step(image, mask if frame == 0 else None)
        costs.seconds.append(meter.report.seconds - before)
        costs.session_mib.append(session.num_bytes / MIB)
        costs.peak_mib.append(peak_mib(device))
    return costs


@contextmanager
def other_memory(model: SWEMNetwork, memory: dict[str, Any]) -> Iterator[None]:
    """Let a model's sessions use another memory: a whole config, or arguments that differ.

    Raises:
        ValueError: The network was not built for that memory's similarity feature.
    """
    kept, channels = model.memory_cfg, model.new_memory().similarity_channels
    model.memory_cfg = dict(memory) if "type" in memory else dict(kept, **memory)
    try:
        found = model.new_memory().similarity_channels
        if found != channels:
            raise ValueError(
                f"the network was built for {channels} channels of similarity (2 * topl), but "
                f"{memory} gives {found}; num_bases below topl lowers it"
            )
        yield
    finally:
        model.memory_cfg = kept


def noise(frames: int, size: Sequence[int]) -> Iterator[Tensor]:
    """Images (3, H, W) that are a field of noise, moving to the right."""
    field = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    for frame in range(frames):
        yield field.roll(2 * frame, dims=-1)


def stripes(size: Sequence[int], objects: int) -> Tensor:
    """Ids (H, W): the upper half, in upright stripes of equal width, one an object."""
    height, width = size
    if not 0 < objects <= min(width // 2, 254):
        raise ValueError(f"{objects} objects do not fit into {height} x {width} pixels")
    ids = torch.zeros(height, width, dtype=torch.uint8)
    ids[: height // 2] = torch.arange(width) * objects // width + 1
    return ids
