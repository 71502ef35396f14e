"""Speed and memory of a tested model."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd_ext.distill.unwrap import student_of
from mmkd_ext.frames.speed import peak_mib, reset_peak, wait
from mmkd_ext.registry import HOOKS
from mmkd_ext.vos.masks import object_ids
from mmkd_ext.vos.structures import VOSDataSample


@HOOKS.register_module()
class VOSSpeedHook(Hook):
    """Frames per second, peak memory and number of objects in a test.

    The rule of the published figures: all frames of all videos, the first included, by the time
    that the model takes for them. Loading, normalising and evaluating do not count, the frame lies
    on the device already, and a frame counts once, however many objects it has. The device is
    waited for before and after each frame, since other work goes on between them.

    Adds ``speed/fps``, ``speed/peak_memory_mib`` (of the GPU; without one, of the process) and
    ``speed/frames`` to the metrics, and a line a number of objects to the log. With several
    processes frames per second are those of one, in the mean.

    Args:
        warmup: Frames that do not count, at the start of the test: kernels are chosen then.
    """

    def __init__(self, warmup: int = 0) -> None:
        self.warmup = warmup
        self._handles: list[Any] = []
        self._reset()

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin to listen to the model."""
        self._reset()
        model = student_of(runner.model)
        self._device = next(model.parameters()).device
        reset_peak(self._device)
        self._handles = [
            model.register_forward_pre_hook(self._start),
            model.register_forward_hook(self._stop),
        ]

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[VOSDataSample] | None = None,
    ) -> None:
        """Count the frame under its number of objects."""
        for sample in outputs or ():
            if sample.is_first:
                self._objects.clear()
            if "given_mask" in sample:
                self._objects.update(object_ids(sample.given_mask.cpu().numpy()))
        seconds, self._seconds = self._seconds, 0.0
        if batch_idx < self.warmup:
            return
        self._frames[len(self._objects)] += len(outputs or ())
        self._times[len(self._objects)] += seconds

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Report, and stop listening."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        parts = all_gather_object((dict(self._frames), dict(self._times), peak_mib(self._device)))
        frames, times = Counter(), Counter()
        for counted, timed, _ in parts:
            frames.update(counted)
            times.update(timed)
        for objects in sorted(frames):
            runner.logger.info(
                f"VOSSpeedHook: {objects} objects: {frames[objects]} frames, "
                f"{_rate(frames[objects], times[objects]):.2f} frames per second"
            )
        if metrics is not None:
            metrics["speed/fps"] = _rate(frames.total(), times.total())
            metrics["speed/peak_memory_mib"] = max(peak for _, _, peak in parts)
            metrics["speed/frames"] = frames.total()

    def _reset(self) -> None:
        self._objects: set[int] = set()  # of the video at hand
        self._frames: Counter[int] = Counter()  # by the number of objects
        self._times: Counter[int] = Counter()  # likewise, in seconds
        self._seconds = 0.0  # of the frame at hand
        self._began = 0.0
        self._device = torch.device("cpu")

    def _start(self, *_: Any) -> None:
        wait(self._device)
        self._began = time.perf_counter()

    def _stop(self, *_: Any) -> None:
        wait(self._device)
        self._seconds += time.perf_counter() - self._began


def _rate(frames: int, seconds: float) -> float:
    return frames / seconds if seconds else 0.0
