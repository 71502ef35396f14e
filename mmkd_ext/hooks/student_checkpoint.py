"""Slim checkpoints of the student alone, beside the full ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmengine
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import EMAHook, Hook
from torch import nn

from mmkd_ext.atomic_file import atomic_save
from mmkd_ext.distill.export import slim_checkpoint, student_weights
from mmkd_ext.distill.student_config import student_config
from mmkd_ext.registry import HOOKS

from .observing import distiller_of


@HOOKS.register_module()
class StudentCheckpointHook(Hook):
    """Write the student's weights alone: ``student_epoch_N.pth`` or ``student_iter_N.pth``.

    They hold neither optimizer nor loss modules, and the student's plain config in their meta, so
    that the stock library's inferencers take them as they are. The full checkpoints, from which
    training resumes, are the checkpoint hook's. Written atomically, by the main process.

    Args:
        interval: Every how many epochs or iterations; the last one is always written.
        by_epoch: Whether ``interval`` counts epochs.
        max_keep: How many to keep, the newest; ``-1`` keeps all.
        ema: Whether to write, where an ``EMAHook`` runs, its averaged weights as well:
            ``student_ema_epoch_N.pth``.
        out_dir: Folder; by default the run's work directory.
    """

    priority = "VERY_LOW"  # after the EMA update of the same step

    def __init__(
        self,
        interval: int = 1,
        by_epoch: bool = True,
        max_keep: int = -1,
        ema: bool = True,
        out_dir: str | None = None,
    ) -> None:
        if interval < 1:
            raise ValueError(f"interval must be at least 1, not {interval}")
        if max_keep == 0 or max_keep < -1:
            raise ValueError(f"max_keep must be at least 1, or -1 for all, not {max_keep}")
        self.interval = interval
        self.by_epoch = by_epoch
        self.max_keep = max_keep
        self.ema = ema
        self.out_dir = out_dir
        self._config: str | None = None  # as text; formatting it takes seconds

    def before_train(self, runner: Any) -> None:
        """Check the model, before any time is spent on training it."""
        distiller_of(runner, self)
        model = runner.cfg.get("model")
        self._config = None
        if is_main_process() and isinstance(model, Mapping) and "student" in model:
            self._config = student_config(runner.cfg)[0].pretty_text

    def after_train_epoch(self, runner: Any) -> None:
        """Write, if it is an epoch's turn."""
        last = self.is_last_train_epoch(runner)
        if self.by_epoch and (last or self.every_n_epochs(runner, self.interval)):
            self._write(runner, "epoch", runner.epoch + 1)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Write, if it is an iteration's turn."""
        last = self.is_last_train_iter(runner)
        if not self.by_epoch and (last or self.every_n_train_iters(runner, self.interval)):
            self._write(runner, "iter", runner.iter + 1)

    @master_only
    def _write(self, runner: Any, unit: str, step: int) -> None:
        folder = Path(self.out_dir or runner.work_dir)
        meta = {
            # Epochs and iterations done, as mmengine counts them in its own checkpoints.
            "epoch": runner.epoch + (unit == "epoch"),
            "iter": runner.iter + (unit == "iter"),
            "seed": runner.seed,
            "experiment_name": runner.experiment_name,
            "mmengine_version": mmengine.__version__,
        }
        dataset = runner.train_dataloader.dataset
        if hasattr(dataset, "metainfo"):
            meta["dataset_meta"] = dataset.metainfo
        kinds: dict[str, nn.Module] = {f"student_{unit}": distiller_of(runner, self)}
        average = _average(runner) if self.ema else None
        if average is not None:
            kinds[f"student_ema_{unit}"] = average
        for name, network in kinds.items():
            content = slim_checkpoint(student_weights(network), meta, self._config)
            atomic_save(content, folder / f"{name}_{step}.pth")
            if self.max_keep > 0:
                _prune(folder, name, step, self.max_keep)


def _average(runner: Any) -> nn.Module | None:
    """The averaged network of the run's EMA hook."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            return hook.ema_model.module
    return None


def _prune(folder: Path, name: str, step: int, keep: int) -> None:
    """Remove all but the newest ``keep`` files; later ones are of another run and stay."""
    pattern = re.compile(rf"{re.escape(name)}_(\d+)\.pth")
    steps = sorted(
        int(match[1])
        for match in (pattern.fullmatch(path.name) for path in folder.iterdir())
        if match and int(match[1]) <= step
    )
    for old in steps[:-keep]:
        (folder / f"{name}_{old}.pth").unlink(missing_ok=True)
