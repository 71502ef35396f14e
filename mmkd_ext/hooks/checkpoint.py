"""mmengine's checkpoint hook, made safe against kills, corrupt files and pickled code."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import mmengine.hooks
import torch
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process, master_only
from mmengine.fileio import LocalBackend
from mmengine.runner import Runner
from torch.utils.data import DataLoader, IterableDataset

from mmkd_ext.atomic_file import (
    atomic_write_bytes,
    atomic_write_text,
    move_into_place,
    remove_stale_temporaries,
    temporary_path,
)
from mmkd_ext.distill.checkpoint import CheckpointError, install_reader, read_checkpoint
from mmkd_ext.hooks.random_state import RANDOM_STATE_KEY, capture_random_state
from mmkd_ext.hooks.resume_point import Choice, check_explicit, choose_latest
from mmkd_ext.hooks.weight_checks import require_finite, require_match
from mmkd_ext.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(mmengine.hooks.CheckpointHook):
    """Save and resume as mmengine does, with files that can be relied on.

    Takes the arguments of mmengine's hook. What it adds, for local files:

    - A checkpoint is written under a temporary name, flushed and renamed. ``last_checkpoint``
      follows, and what ``max_keep_ckpts`` or ``save_best`` discards goes last, so at no moment
      is there less than one whole checkpoint.
    - ``resume=True`` verifies the newest checkpoint and falls back to the newest earlier one
      that reads, with a warning that names both. When there are checkpoints but none reads, that
      is an error: never a silent start from scratch.
    - Everything is read weights-only (:mod:`mmkd_ext.distill.checkpoint`).
    - A checkpoint of which nothing fits the model is an error, and so is saving a model whose
      parameters are NaN: the good checkpoints before it stay.
    - The random state of every rank is stored under ``random_state`` (a list, one entry a rank);
      :class:`mmkd_ext.hooks.ExactResumeHook` puts it back.

    Other file backends, and sharded checkpoints of ``FlexibleRunner``, are written as mmengine
    writes them.
    """

    _random_states: list[dict] | None = None

    def before_run(self, runner: Any) -> None:
        """Close full unpickling and verify what the run is about to load.

        Raises:
            CheckpointError: There is something to load and it cannot be used.
        """
        install_reader()
        resume, load_from = bool(runner._resume), runner._load_from
        if isinstance(runner._resume, str):  # FlexibleRunner takes a path there
            load_from = runner._resume
        if getattr(runner, "_has_loaded", False) or (load_from is None and not resume):
            return
        # One process looks, all do the same: files may vanish or appear between two looks.
        message: list[Any] = [None, None]
        if is_main_process():
            try:
                message[0] = self._choose(runner, resume, load_from)
            except CheckpointError as error:
                message[1] = str(error)
        broadcast_object_list(message)
        choice, problem = message
        if problem is not None:
            raise CheckpointError(problem)
        for line in choice.warnings:
            runner.logger.warning(line)
        if choice.path is not None:
            runner._load_from = choice.path

    def _choose(self, runner: Any, resume: bool, load_from: str | None) -> Choice:
        if load_from is not None:
            return check_explicit(str(load_from), resume)
        folders = [Path(runner.work_dir)]
        if self.out_dir is not None and "://" not in str(self.out_dir):
            folders.append(Path(self.out_dir) / Path(runner.work_dir).name)
        return choose_latest(folders, [self.filename_tmpl, "epoch_{}.pth", "iter_{}.pth"])

    def before_train(self, runner: Any) -> None:
        """Refuse a training of no steps, whose checkpoint would pass for a trained one.

        Raises:
            ValueError: The training set has no whole batch.
        """
        super().before_train(runner)
        loader = runner.train_dataloader
        sized = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
        if sized and len(loader) == 0:
            raise ValueError(
                f"The training set has {len(loader.dataset)} samples, not enough for one batch of "
                f"{loader.batch_size} (drop_last={loader.drop_last}): lower batch_size, or check "
                "what the dataset filters out."
            )

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Refuse a checkpoint of another network.

        Raises:
            CheckpointError: Nothing in it fits the model.
        """
        if isinstance(runner, Runner):  # others shard checkpoints in ways of their own
            require_match(runner.model, checkpoint, str(runner._load_from or "The checkpoint"))

    # ------------------------------------------------------------------ saving

    def _last_good(self, runner: Any) -> str | None:
        return self.last_ckpt or (runner._load_from if runner._resume else None)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Put in the random states that were gathered from all ranks."""
        if self._random_states is not None:
            checkpoint[RANDOM_STATE_KEY] = self._random_states

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        # Saving itself runs in the main process only; this method runs in all.
        require_finite(runner.model, self._last_good(runner))
        self._random_states = all_gather_object(_training_random_state(runner))
        try:
            if self._is_plain_local(runner):
                self._save_and_discard(runner, step, meta)
            else:
                super()._save_checkpoint_with_step(runner, step, meta)
        finally:
            self._random_states = None

    def _save_and_discard(self, runner: Any, step: int, meta: dict) -> None:
        """The same steps as mmengine's, in an order that a kill cannot hurt."""
        hub = runner.message_hub
        discarded: list[int] = []
        if self.max_keep_ckpts > 0 and step not in list(self.keep_ckpt_ids)[-1:]:
            kept = [*self.keep_ckpt_ids, step]
            while len(kept) > self.max_keep_ckpts:
                discarded.append(kept.pop(0))
            # The file that is about to go is listed as well: should this process die before it
            # is removed, the resumed run finds one too many and removes it.
            hub.update_info("keep_ckpt_ids", discarded + kept)
            self.keep_ckpt_ids.extend([step])
        name = self.filename_tmpl.format(step)
        self.last_ckpt = os.path.join(self.out_dir, name)
        hub.update_info("last_ckpt", self.last_ckpt)
        _AtomicSaves(runner).save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            record = Path(runner.work_dir) / "last_checkpoint"
            atomic_write_text(self.last_ckpt, record)
            for old in discarded:
                self._discard(os.path.join(self.out_dir, self.filename_tmpl.format(old)))
        if discarded:
            hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))

    def _discard(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # sharded checkpoints are directories
            self.file_backend.rmtree(path)

    def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
        if not self.save_best or not self._is_plain_local(runner):
            super()._save_best_checkpoint(runner, metrics)
            return
        require_finite(runner.model, self._last_good(runner))
        # mmengine removes the old best before it writes the new one: let it write first.
        saves, backend = _AtomicSaves(runner), self.file_backend
        self.file_backend = removals = _LateRemovals(backend)
        try:
            super()._save_best_checkpoint(saves, metrics)
        finally:
            self.file_backend = backend
        for path in removals.paths:
            if path not in saves.written:
                self._discard(path)

    @master_only
    def _publish_model(self, runner: Any, ckpt_path: str) -> None:
        if not self._is_plain_local(runner):
            super()._publish_model(runner, ckpt_path)
            return
        checkpoint = read_checkpoint(ckpt_path)
        kept = {key: value for key, value in checkpoint.items() if key in self.published_keys}
        if removed := sorted(checkpoint.keys() - kept.keys()):
            runner.logger.info(f"Left out of the published checkpoint: {', '.join(removed)}.")
        buffer = io.BytesIO()
        torch.save(kept, buffer)
        # The hash of the file itself: what torch.hub compares the name's suffix with.
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest()[:8]
        path = Path(ckpt_path).with_suffix("")
        published = path.with_name(f"{path.name}-{digest}.pth")
        atomic_write_bytes(buffer.getvalue(), published)
        runner.logger.info(f"The checkpoint ({ckpt_path}) is published to {published}.")

    def _is_plain_local(self, runner: Any) -> bool:
        # FlexibleRunner's strategies may write folders, from all ranks.
        runner = runner.runner if isinstance(runner, _AtomicSaves) else runner
        backend = self.file_backend
        backend = backend.backend if isinstance(backend, _LateRemovals) else backend
        return isinstance(runner, Runner) and isinstance(backend, LocalBackend)


def _training_random_state(runner: Any) -> dict:
    for hook in runner.hooks:
        if hasattr(hook, "training_random_state"):
            return hook.training_random_state()
    return capture_random_state()


class _AtomicSaves:
    """A runner, but for ``save_checkpoint``, which writes aside and renames."""

    def __init__(self, runner: Any) -> None:
        self.runner = runner.runner if isinstance(runner, _AtomicSaves) else runner
        self.written: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        path = Path(out_dir) / filename
        remove_stale_temporaries(path.parent)
        aside = temporary_path(path)
        try:
            self.runner.save_checkpoint(out_dir, aside.name, *args, **kwargs)
            move_into_place(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        self.written.add(os.path.join(out_dir, filename))


class _LateRemovals:
    """A file backend that notes what is to be removed and leaves it."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.paths: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.paths.append(path)

    rmtree = remove
