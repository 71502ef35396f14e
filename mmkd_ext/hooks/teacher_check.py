"""Is the teacher any good? Its score on the validation set, before the first step."""

from __future__ import annotations

import copy
import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import all_reduce, get_world_size
from mmengine.evaluator import DumpResults, Evaluator
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import autocast
from torch.utils.data import DataLoader, Subset

from mmkd_ext.distill import Distiller, EMATeacher, Teacher
from mmkd_ext.distill.probe import untouched_random_state
from mmkd_ext.registry import HOOKS

from .observing import distiller_of, evaluating, split

_ACCURACY = re.compile(r"(^|/|_)top1($|_)")
_SCORE = re.compile(r"(^|/|_)(mAP|AP|mIoU|mDice|mFscore|PQ|F1|J&F[-_]?Mean)$", re.IGNORECASE)
# Full marks in the metrics of each library; a score of unknown scale is taken to be out of 1.
_FULL_MARKS = {"mmpretrain": 100.0, "mmseg": 100.0, "mmdet": 1.0}
_CHANCE_FACTOR = 1.5  # an accuracy up to 1.5 times that of guessing is no better than guessing
_CHANCE_SHARE = 0.01  # other scores: up to 1 % of full marks


class TeacherAtChanceError(RuntimeError):
    """A teacher knows nothing about the validation set, and ``on_chance='error'``."""


@HOOKS.register_module()
class TeacherCheckHook(Hook):
    """Evaluate each teacher before training, on the runner's own validation set and metrics.

    The teacher sees what it will see in training: the student's preprocessed batch, re-normalised.
    A wrong checkpoint, a wrong normalisation or a wrong class order shows here, at the price of one
    pass over the validation set, instead of after a useless training. EMA teachers, which know
    nothing yet, are left out. Nothing is changed: neither random state, nor training flags, nor
    the evaluator. In distributed runs every rank evaluates its share.

    Args:
        on_chance: ``'warn'`` or ``'error'``: what to do about a teacher at chance. That is an
            accuracy of at most ``1.5 * 100 / classes``, or another score (mAP, AP, mIoU ...) of at
            most 1 % of full marks.
        max_batches: Evaluate on about this many batches a rank, spread evenly over the validation
            set; ``None`` takes all of it.
        chance: Further metrics to judge, or other thresholds: the metric's full name to the score
            that still counts as chance.

    Attributes:
        scores: After ``before_train``, all metrics by the teacher's name.
    """

    priority = "VERY_LOW"  # after every hook that prepares the run

    def __init__(
        self,
        on_chance: str = "warn",
        max_batches: int | None = None,
        chance: Mapping[str, float] | None = None,
    ) -> None:
        if on_chance not in ("warn", "error"):
            raise ValueError(f"on_chance must be 'warn' or 'error', not {on_chance!r}")
        if max_batches is not None and max_batches < 1:
            raise ValueError(f"max_batches must be at least 1 or None, not {max_batches}")
        self.on_chance = on_chance
        self.max_batches = max_batches
        self.chance = dict(chance or {})
        self.scores: dict[str, dict[str, float]] = {}

    def before_train(self, runner: Any) -> None:
        """Evaluate; weights are loaded by now.

        Raises:
            TeacherAtChanceError: A teacher is at chance and ``on_chance='error'``.
            TypeError: The model is no Distiller.
        """
        distiller = distiller_of(runner, self)
        teachers = {
            name: member
            for name, member in distiller.teachers.items()
            if not isinstance(member, EMATeacher)
        }
        if not teachers:
            _say("no teacher to check (none at all, or EMA teachers only)")
            return
        if runner.val_loop is None:
            _say(
                "the teacher goes UNCHECKED: the config has no validation (val_dataloader, val_cfg "
                "and val_evaluator); give one, or take this hook out",
                logging.WARNING,
            )
            return
        dataset = runner.val_loop.dataloader.dataset
        if not hasattr(dataset, "__len__") or not len(dataset):
            what = "is empty" if hasattr(dataset, "__len__") else "has no length"
            _say(
                f"the teacher goes UNCHECKED: the validation set {type(dataset).__name__} {what}",
                logging.WARNING,
            )
            return
        for name, member in teachers.items():
            member.load()
            self._check(runner, distiller, name, member)

    def _check(self, runner: Any, distiller: Distiller, name: str, member: Teacher) -> None:
        error: Exception | None = None
        try:
            evaluator, processed = self._predict(runner, distiller, member)
        except (OSError, torch.OutOfMemoryError):
            raise  # of the machine or the data, not of the teacher
        except Exception as caught:
            error = caught
        # All processes go the same way: one that stopped would leave the others waiting.
        failed = torch.tensor(int(error is not None), device=next(distiller.parameters()).device)
        all_reduce(failed, op="max")
        if failed:
            # A teacher for another task (a backbone to imitate) cannot be scored: said aloud.
            reason = (str(error).strip().splitlines() or [""])[0]
            message = (
                f"the evaluation of {name} on the validation set failed "
                f"({type(error).__name__}: {reason}); the teacher goes UNCHECKED"
            )
            if self.on_chance == "error":
                raise RuntimeError(message) from error
            _say(message, logging.WARNING)
            return
        scores, images = self._score(runner, evaluator, processed)
        self.scores[name] = scores
        shown = ", ".join(f"{key} {_number(value)}" for key, value in scores.items())
        total = len(runner.val_loop.dataloader.dataset)
        _say(f"{name} on {images} of {total} validation images: {shown or 'no metric'}")
        limits = self._limits(runner.val_loop.evaluator, scores)
        if not limits:
            _say(
                f"{name}: no metric here that this hook can judge; name one with its chance level "
                "in chance=dict(...)"
            )
        failed = [key for key, limit in limits.items() if not scores[key] > limit]
        if failed:
            self._alarm(name, member, {key: (scores[key], limits[key]) for key in failed})

    @torch.no_grad()
    def _predict(self, runner: Any, distiller: Distiller, member: Teacher) -> tuple[Evaluator, int]:
        """This process's share of the pass: an evaluator that has seen it, and its images."""
        loader = _own_loader(runner.val_loop.dataloader, self.max_batches)
        evaluator = _own_evaluator(runner.val_loop.evaluator)
        processed = 0
        with untouched_random_state(), evaluating(member), _evaluation_mode(distiller):
            for batch in loader:
                inputs, samples = split(distiller.data_preprocessor(batch, False))
                inputs = member.prepare(inputs, distiller.data_preprocessor, samples)
                with autocast(enabled=runner.val_loop.fp16):
                    predictions = member.predict(inputs, samples)
                processed += len(predictions)
                evaluator.process(data_samples=predictions, data_batch=batch)
        return evaluator, processed

    def _score(
        self, runner: Any, evaluator: Evaluator, processed: int
    ) -> tuple[dict[str, float], int]:
        """All metrics over all processes, and over how many images."""
        count = torch.tensor(processed, device=next(runner.model.parameters()).device)
        all_reduce(count)
        # The sampler repeats images so that all ranks have equally many.
        loader = _own_loader(runner.val_loop.dataloader, self.max_batches)
        images = min(int(count), len(loader.dataset))
        with untouched_random_state():
            return evaluator.evaluate(images), images

    def _limits(self, evaluator: Evaluator, scores: Mapping[str, float]) -> dict[str, float]:
        """For each metric that can be judged, the highest score that is still chance."""
        classes = len((evaluator.dataset_meta or {}).get("classes") or ())
        marks = [_full_marks(metric) for metric in evaluator.metrics]
        full = marks[0] if len(set(marks)) == 1 else 1.0
        limits = {}
        for key in scores:
            if key in self.chance:
                limits[key] = self.chance[key]
            elif _ACCURACY.search(key) and classes > 1:
                limits[key] = _CHANCE_FACTOR * full / classes
            elif _ACCURACY.search(key) or _SCORE.search(key):
                limits[key] = _CHANCE_SHARE * full
        return limits

    def _alarm(self, name: str, member: Teacher, failed: Mapping[str, tuple[float, float]]) -> None:
        found = "; ".join(
            f"{key} is {_number(score)}, chance level {_number(limit)}"
            for key, (score, limit) in failed.items()
        )
        source = member.checkpoint or "NO CHECKPOINT: its weights are as initialised"
        text = (
            f"The {name} is AT CHANCE on the validation set: {found}. It would teach noise. "
            f"Its weights: {source}. Check that the checkpoint belongs to the teacher's config, "
            "that its classes are this dataset's in the same order, and its data_preprocessor "
            "(mean, std, channel order)."
        )
        if self.on_chance == "error":
            raise TeacherAtChanceError(text)
        bar = "!" * 88
        _say(f"\n{bar}\n{text}\n{bar}", logging.WARNING)


def _own_loader(theirs: DataLoader, max_batches: int | None) -> DataLoader:
    """A loader over the same dataset, so that the runner's keeps its workers and their state."""
    size = theirs.batch_size or getattr(theirs.batch_sampler, "batch_size", 1)
    total = len(theirs.dataset)
    wanted = total if max_batches is None else min(total, max_batches * size * get_world_size())
    # Evenly spread: image folders are sorted by class, and a first part would hold only a few.
    subset = Subset(theirs.dataset, [index * total // wanted for index in range(wanted)])
    return DataLoader(
        subset,
        batch_size=size,
        sampler=DefaultSampler(subset, shuffle=False),
        num_workers=theirs.num_workers,
        collate_fn=theirs.collate_fn,
        pin_memory=theirs.pin_memory,
        worker_init_fn=theirs.worker_init_fn,
        multiprocessing_context=theirs.multiprocessing_context,
    )


def _own_evaluator(theirs: Evaluator) -> Evaluator:
    """A copy that shares what is large (annotations) and no state; it writes no result file."""
    evaluator = copy.copy(theirs)
    evaluator.metrics = []
    for metric in theirs.metrics:
        if isinstance(metric, DumpResults):
            continue
        metric = copy.copy(metric)
        for key, value in vars(metric).items():
            if isinstance(value, (list, dict, set)):
                setattr(metric, key, copy.copy(value))
        metric.results = []
        evaluator.metrics.append(metric)
    return evaluator


@contextmanager
def _evaluation_mode(distiller: Distiller) -> Iterator[None]:
    """For the data preprocessor, which belongs to the student."""
    flags = {module: module.training for module in distiller.data_preprocessor.modules()}
    try:
        distiller.data_preprocessor.eval()
        yield
    finally:
        for module, training in flags.items():
            module.training = training


def _full_marks(metric: Any) -> float:
    for cls in type(metric).__mro__:
        marks = _FULL_MARKS.get(cls.__module__.partition(".")[0])
        if marks is not None:
            return marks
    return 1.0


def _number(value: Any) -> str:
    return (
        f"{value:.4g}" if isinstance(value, (int, float)) and math.isfinite(value) else f"{value}"
    )


def _say(text: str, level: int = logging.INFO) -> None:
    print_log(f"TeacherCheckHook: {text}", logger="current", level=level)
