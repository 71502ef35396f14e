"""How far a candidate's features are from a teacher's: a part of FlowNAS's search score."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmkd_ext.distill.tap_spec import Tap, TapError, leaves, module_names, resolve_taps
from mmkd_ext.distill.taps import gather, select
from mmkd_ext.distill.teacher import Teacher
from mmkd_ext.distill.teacher_args import teacher_args
from mmkd_ext.distill.unwrap import student_of
from mmkd_ext.losses.checks import check_choice
from mmkd_ext.registry import MODELS

from ..losses.feature_alignment import POOLS, Pool, align_features, aligned_distance

# The results of both encoders, of FlowNAS and of RAFT.
TAP = {
    "student": ["feature_encoder.last_conv", "context_encoder.last_conv"],
    "teacher": ["feature_encoder.conv", "context_encoder.conv"],
}


@MODELS.register_module()
class FlowFeatureDistance:
    """The sum over taps of :func:`~mmkd_ext.flow.losses.alignment_distance`.

    A :class:`mmkd_ext.search.FeatureDistance`, for ``EvolutionSearchLoop(distance=...)``. The
    teacher sees every batch once, before the first candidate; its aligned maps are kept in the
    CPU's memory, with a pooled alignment one channel each.

    Against the published code: its maps are cut by as many positions as the image was padded by
    pixels, ours are compared whole; and on KITTI it takes the mean over the pixels of all pairs,
    here it is that over the batches of each one's mean.

    Args:
        teacher: As a Distiller's: ``dict(config=..., checkpoint=...)`` or a network's config.
        tap: What is compared, as a Distiller's ``tap`` that is a list: for each module of the
            student one of the teacher. The default is the last of both encoders, as published.
        pool: As for :func:`~mmkd_ext.flow.losses.align_features`.
        over: Whose squared differences are summed before the root: ``'pair'``: the two images' of a
            pair; ``'batch'``: all of a batch, as published. With one pair a batch they are equal.

    Attributes:
        teacher_forwards: How often the teacher ran.

    Raises:
        TapError: A module that is not there, or that does not fire exactly once in a forward.
        ValueError: Other arguments that make no sense; maps of several resolutions.
    """

    def __init__(
        self,
        teacher: str | Mapping[str, Any] | nn.Module,
        tap: Any = TAP,
        pool: Pool = "max",
        over: str = "pair",
    ) -> None:
        check_choice("FlowFeatureDistance", "pool", pool, POOLS)
        check_choice("FlowFeatureDistance", "over", over, ("pair", "batch"))
        kind, args = teacher_args(teacher)
        if kind != "Teacher" or args.get("student_inputs"):
            raise ValueError(
                "FlowFeatureDistance: the teacher is a trained network that sees the images alone: "
                "no EMATeacher, and no student_inputs"
            )
        self.teacher = Teacher(**args)
        self.tap = tap
        self.pool = pool
        self.over = over
        self.teacher_forwards = 0
        self._pairs: list[tuple[Tap, Tap]] = []
        self._handles: list[RemovableHandle] = []
        self._seen: dict[Tap, Tensor] = {}  # aligned maps of the student's last forward
        self._known: list[list[Tensor]] = []  # of the teacher, by batch and tap
        self._dataloader: Iterable | None = None

    def prepare(self, model: nn.Module, dataloader: Iterable) -> None:
        """Look at the student's taps from now on, and run the teacher over the data.

        Args:
            model: The runner's, without wrapper.
            dataloader: Gives the same batches in the same order whenever it is gone through.
        """
        student = student_of(model)
        if not self._pairs:
            self._pairs = self._resolve(student)
            self.teacher.watch([other.source for _, other in self._pairs], student)
        self.finish()
        self._handles = [
            student.register_forward_pre_hook(lambda *_: self._seen.clear()),
            *(
                student.get_submodule(tap.name).register_forward_hook(partial(self._see, tap))
                for tap, _ in self._pairs
            ),
        ]
        if self._dataloader is not dataloader:
            self.teacher.load()
            device = next(student.parameters()).device
            self.teacher.apply_(lambda tensor: tensor.to(device))
            begin = time.perf_counter()
            self._known = [self._teach(student, batch) for batch in dataloader]
            print_log(
                f"FlowFeatureDistance: the teacher took {time.perf_counter() - begin:.1f} s for "
                f"{len(self._known)} batches; what it said is kept for all candidates",
                logger="current",
            )
            self.teacher.apply_(torch.Tensor.cpu)  # its memory is the candidates' now
            self._dataloader = dataloader

    def finish(self) -> None:
        """Look at the student no longer; what the teacher said is kept."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._seen.clear()

    def __call__(self, model: nn.Module, batch_index: int, data_batch: Mapping[str, Any]) -> float:
        """The distance on one batch, right after the model has predicted it.

        Args:
            model: As in :meth:`prepare`.
            batch_index: Of the batch.
            data_batch: The batch; its ``inputs`` are pairs of images.
        """
        pairs = len(data_batch["inputs"]) if self.over == "pair" else None
        total = 0.0
        for (tap, other), known in zip(self._pairs, self._known[batch_index], strict=True):
            if tap not in self._seen:
                raise TapError(f"FlowFeatureDistance: {tap} of the student did not fire")
            seen = self._seen.pop(tap)
            try:
                total += float(aligned_distance(seen, known.to(seen.device), pairs))
            except (ValueError, RuntimeError) as error:
                raise ValueError(
                    f"FlowFeatureDistance: {tap} of the student against {other} of the teacher: "
                    f"{error}"
                ) from error
        return total

    def _resolve(self, student: nn.Module) -> list[tuple[Tap, Tap]]:
        where = "FlowFeatureDistance"
        names = module_names(student), module_names(self.teacher.model)
        (pair, *more) = resolve_taps(self.tap, *names, where)
        ours, theirs = leaves(pair.student), leaves(pair.teacher)
        if more or len(ours) != len(theirs):
            raise TapError(
                f"{where}: tap is lists with as many modules of the student as of the teacher, "
                f"not {self.tap!r}"
            )
        if any(tap.arg is not None for tap in ours):
            raise TapError(f"{where}: taps of the student are outputs of modules, not arguments")
        return list(zip(ours, theirs, strict=True))

    def _see(self, tap: Tap, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if tap in self._seen:
            raise TapError(f"FlowFeatureDistance: {tap} of the student fires several times")
        # Aligned at once: the map itself would live on, and count as the candidate's memory.
        self._seen[tap] = align_features(select(output, tap, "student").detach(), self.pool)

    def _teach(self, student: nn.Module, batch: Any) -> list[Tensor]:
        data = student.data_preprocessor(batch, False)
        samples = data.get("data_samples")
        inputs = self.teacher.prepare(data["inputs"], student.data_preprocessor, samples)
        need = {other.source: 1 for _, other in self._pairs}
        recorder = self.teacher.run(inputs, samples, need, None)
        self.teacher_forwards += 1
        try:
            outputs = gather([other for _, other in self._pairs], recorder, [1] * len(self._pairs))
        finally:
            recorder.clear()
        return [align_features(output, self.pool).float().cpu() for output in outputs]
