"""What a prediction and a training step of RAFT cost: time, and memory of this process.

A process measures one thing. What it has allocated before, and freed, would be in the way of a
second one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmkd_ext.frames.speed import MIB, peak_mib, reset_peak, wait

from .data_preprocessor import FlowDataPreprocessor
from .learnable_cost_volume import LearnableCostVolume
from .models.correlation import Correlation
from .structures import FlowDataSample

Size = tuple[int, int]  # height and width, in pixels
Work = Callable[[], object]
WARM_UP = (64, 64)


@dataclass
class Cost:
    """Of one work that was done several times.

    Attributes:
        seconds: Of each time.
        idle_mib: Memory before: the network, and on a CPU all else that the process holds.
        peak_mib: Highest memory meanwhile, ``idle_mib`` included.
    """

    seconds: list[float] = field(default_factory=list)
    idle_mib: float = 0.0
    peak_mib: float = 0.0


class Bench:
    """A network of optical flow, and made-up data to work on.

    Args:
        network: With a :class:`~mmkd_ext.flow.models.correlation.Correlation`, such as RAFT, on
            the device that is measured.
        preprocessor: Of its images.
        iters: Iterations, of predictions and in training.

    Raises:
        ValueError: A network of another kind.
    """

    def __init__(
        self, network: nn.Module, preprocessor: FlowDataPreprocessor | None, iters: int
    ) -> None:
        if not isinstance(getattr(network, "correlation", None), Correlation) or not isinstance(
            preprocessor, FlowDataPreprocessor
        ):
            raise ValueError(
                f"flow-benchmark: {type(network).__name__} is no network of optical flow with a "
                "Correlation and a FlowDataPreprocessor; give one such as RAFT"
            )
        self.network, self.preprocessor = network, preprocessor
        network.iters = network.test_cfg["iters"] = iters
        self.device = next(network.parameters()).device

    def volume_bytes(self, size: Size) -> int:
        """Bytes of the volume of all pairs for images of a size, which are padded first."""
        left, right, top, bottom = self.preprocessor.pads([size])[0]
        height, width = size[0] + top + bottom, size[1] + left + right
        return self.network.correlation.volume_bytes(1, height // 8, width // 8)

    def prediction(self, size: Size) -> Work:
        """Estimating the flow of one pair, from its uint8 images on the device on."""
        batch = {"inputs": [self._pair(size)]}

        def work() -> None:
            data = self.preprocessor(batch)
            self.network.predict(data["inputs"], data["data_samples"])

        self.network.eval()
        return work

    def training_step(self, size: Size) -> Work:
        """One step on one pair: forward, backward, clipping and AdamW."""
        sample = FlowDataSample()
        sample.gt_flow = torch.ones(2, *size, device=self.device)
        sample.gt_valid = torch.ones(size, dtype=torch.bool, device=self.device)
        batch = {"inputs": [self._pair(size)], "data_samples": [sample]}

        def work() -> None:
            data = self.preprocessor(batch, training=True)
            losses = self.network(data["inputs"], data["data_samples"], mode="loss")
            self._optimizer.update_params(self.network.parse_losses(losses)[0])

        self.network.train()
        return work

    def measure(self, kind: Callable[[Size], Work], size: Size, repeats: int) -> Cost:
        """Time and memory of a work, such as ``prediction``, on images of a size.

        A pair of 64 x 64 pixels goes first: the libraries' code is loaded then, and the optimizer
        has its moments, but hardly any memory stays behind that the work would use again.
        """
        kind(WARM_UP)()
        work, cost = kind(size), Cost()
        wait(self.device)
        _forget_highest(self.device)
        cost.idle_mib = _held_mib(self.device)
        cost.seconds = [_timed(work, self.device) for _ in range(repeats)]
        cost.peak_mib = _highest_mib(self.device)
        return cost

    def with_and_without_lcv(self, size: Size, repeats: int) -> dict[str, list[float]]:
        """Seconds of training steps that alternate between two networks.

        They differ in the learnable cost volume only, and each takes a step before those that are
        timed.

        Returns:
            ``inner_product`` and ``learnable``, ``repeats`` each, in the order they were done.
        """
        steps = {}
        for name in ("inner_product", "learnable"):
            network = deepcopy(self.network)
            correlation = network.correlation
            correlation.metric = None
            if name == "learnable":
                correlation.metric = LearnableCostVolume(correlation.dim).to(self.device)
            bench = Bench(network, self.preprocessor, network.iters)
            steps[name] = bench.training_step(size)
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(repeats + 1):
            for name, step in steps.items():
                taken = _timed(step, self.device)
                if number:
                    seconds[name].append(taken)
        return seconds

    @cached_property
    def _optimizer(self) -> OptimWrapper:
        parameters = [one for one in self.network.parameters() if one.requires_grad]
        return OptimWrapper(torch.optim.AdamW(parameters), clip_grad={"max_norm": 1.0})

    def _pair(self, size: Size) -> Tensor:
        """Two images of noise, (2, 3, H, W) uint8; the second is moved by a pixel."""
        generator = torch.Generator().manual_seed(0)
        image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        return torch.stack([image, image.roll(1, dims=-1)]).to(self.device)


def ratios(seconds: dict[str, Sequence[float]]) -> dict[str, float]:
    """How much longer the steps with the learnable cost volume took.

    Returns:
        ``ratio`` of the medians, and the ``lowest`` and ``highest`` of steps that followed one
        another.
    """
    plain, learnable = seconds["inner_product"], seconds["learnable"]
    single = [b / a for a, b in zip(plain, learnable, strict=True)]
    return {
        "ratio": median(learnable) / median(plain),
        "lowest": min(single),
        "highest": max(single),
    }


def available_bytes(device: torch.device) -> int:
    """Memory that is free to be used: of the GPU, or of the machine and this container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # a system that does not tell
        machine = 2**63
    free = [_kib(Path("/proc/meminfo"), "MemAvailable") * 1024 or machine]
    for folder, limit, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            found = [Path(folder, name).read_text().strip() for name in (limit, used)]
        except OSError:
            continue
        if all(text.isdigit() for text in found):  # no limit is "max"
            free.append(max(0, int(found[0]) - int(found[1])))
    return min(free)


def _timed(work: Work, device: torch.device) -> float:
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - began


def _held_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / MIB
    return _kib(Path("/proc/self/status"), "VmRSS") / 1024 or peak_mib(device)


def _forget_highest(device: torch.device) -> None:
    reset_peak(device)
    with suppress(OSError):  # elsewhere it stays the highest of the process's life
        Path("/proc/self/clear_refs").write_text("5")  # Linux's number for that


def _highest_mib(device: torch.device) -> float:
    # On Linux a process inherits the ru_maxrss of the one that started it, but not its VmHWM.
    own = 0 if device.type == "cuda" else _kib(Path("/proc/self/status"), "VmHWM")
    return own / 1024 or peak_mib(device)


def _kib(file: Path, name: str) -> int:
    """A line ``name:  123 kB`` of a file of Linux; 0 where there is none."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    found = [line.split() for line in lines if line.startswith(f"{name}:")]
    return int(found[0][1]) if found else 0
