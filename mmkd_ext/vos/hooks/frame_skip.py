"""How far apart the frames of a training clip may lie, in the course of training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd_ext.hooks.exact_resume import ExactResumeHook
from mmkd_ext.registry import HOOKS

if TYPE_CHECKING:
    from mmkd_ext.vos.transforms.clip import SampleClip


@HOOKS.register_module()
class FrameSkipHook(Hook):
    """Move the ``skip`` of every :class:`mmkd_ext.vos.transforms.SampleClip` along its schedule.

    It rises from 0 to ``max_skip`` over the first tenth of training, stays until eight tenths,
    falls to ``final_skip`` by nine tenths and stays there. Each ``SampleClip`` has its own two
    numbers.

    A worker of the data loader sees a new value at the next clip that it draws; with
    ``num_workers=0`` the value is that of the iteration, exactly. So with workers a resumed run
    does not end bit for bit where an unbroken one would.

    Args:
        max_iters: Length of the schedule; that of the training by default.

    Raises:
        ValueError: The training data loader has no ``SampleClip``.
    """

    def __init__(self, max_iters: int | None = None) -> None:
        self.max_iters = max_iters
        self._samplers: list[SampleClip] = []

    def before_train(self, runner: Runner) -> None:
        """Find the transforms, and set them for the first iteration."""
        self._samplers = list(find_samplers(runner.train_dataloader.dataset))
        if not self._samplers:
            raise ValueError(
                "FrameSkipHook: no dataset of train_dataloader has a SampleClip in its pipeline; "
                "remove the hook"
            )
        if getattr(runner.train_dataloader, "num_workers", 0) and any(
            isinstance(hook, ExactResumeHook) for hook in runner.hooks
        ):
            runner.logger.warning(
                "FrameSkipHook: workers of the data loader see a new frame skip some clips late. A "
                "resumed run will not end bit for bit where an unbroken one would; "
                "train_dataloader.num_workers=0 makes it exact."
            )
        self._set(runner, runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Set the transforms for the next iteration, whose clips are drawn before it begins."""
        self._set(runner, runner.iter + 1)

    def _set(self, runner: Runner, iteration: int) -> None:
        length = self.max_iters or runner.max_iters
        for sampler in self._samplers:
            skip = frame_skip(iteration, length, sampler.max_skip, sampler.final_skip)
            if skip != sampler.skip:
                sampler.skip = skip


def frame_skip(iteration: int, max_iters: int, max_skip: int, final_skip: int) -> int:
    """The schedule of :class:`FrameSkipHook`; numbers between are rounded to the earlier side.

    Args:
        iteration: 0 for the first.
        max_iters: Length of the schedule.
        max_skip: Its plateau.
        final_skip: Its end.
    """
    rise, fall, end = (max_iters * tenths // 10 for tenths in (1, 8, 9))
    if iteration < rise:
        return max_skip * iteration // rise
    if iteration <= fall:
        return max_skip
    if iteration >= end:
        return final_skip
    return max_skip - (max_skip - final_skip) * (iteration - fall) // (end - fall)


def find_samplers(dataset: Any) -> Iterator[SampleClip]:
    """All :class:`SampleClip` transforms of a dataset and of those that it wraps."""
    # Here, since whoever asks for any hook of ours imports this module: no torchvision for them.
    from mmkd_ext.vos.transforms.clip import SampleClip

    inner = getattr(dataset, "datasets", None)
    for part in inner if inner is not None else [getattr(dataset, "dataset", None)]:
        if part is not None:
            yield from find_samplers(part)
    pipeline = getattr(dataset, "pipeline", None)
    for transform in getattr(pipeline, "transforms", ()):
        if isinstance(transform, SampleClip):
            yield transform
