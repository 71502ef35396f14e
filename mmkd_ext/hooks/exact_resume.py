"""A run that was killed and resumed ends bit for bit where an unbroken run ends."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from torch.utils.data import DataLoader, IterableDataset

from mmkd_ext.hooks.random_state import (
    RANDOM_STATE_KEY,
    capture_random_state,
    restore_random_state,
)
from mmkd_ext.hooks.visit_seed import (
    VisitClock,
    index_source,
    mix_seed,
    seed_visits_of_dataset,
    seed_visits_of_sampler,
)
from mmkd_ext.registry import HOOKS

_OWN_KEY = "exact_resume"


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make resuming exact, together with :class:`mmkd_ext.hooks.CheckpointHook`.

    - Every visit of a sample has its own seed (:mod:`mmkd_ext.hooks.visit_seed`), so what the
      data pipeline draws depends neither on the workers nor on where a run was resumed. It also
      ends a trap of mmengine's: without persistent workers every epoch repeats the augmentation.
    - The generators of the training process (dropout, masks, Mixup) continue where they stood
      when the checkpoint was written; validation and the making of iterators never move them.
    - Where no seed was configured, the one that was drawn for the broken run is used again.

    Exact means on the CPU, or with deterministic kernels, with the same world size. Out of reach
    are numbers that a pipeline draws from a generator of its own (not python's, numpy's or
    torch's), samples that it keeps from one visit to the next (mmdet's ``CachedMosaic``),
    :class:`~torch.utils.data.IterableDataset`, and schedulers driven by a validation that came
    after the checkpoint. The hook warns of those it can see.
    """

    # First of all hooks: the state is put back before anybody else draws.
    priority = "HIGHEST"

    def __init__(self) -> None:
        self._built_seed: int | None = None
        self._loaded: dict[str, Any] | None = None
        self._pending: dict[str, Any] | None = None
        self._before_validation: dict[str, Any] | None = None

    # ------------------------------------------------------------------ loading and saving

    def before_run(self, runner: Any) -> None:
        """Remember the seed that the samplers were built with."""
        self._built_seed = runner.seed
        self._loaded = self._pending = self._before_validation = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Take what this hook needs out of a loaded checkpoint."""
        self._loaded = {
            RANDOM_STATE_KEY: checkpoint.get(RANDOM_STATE_KEY),
            **checkpoint.get(_OWN_KEY, {}),
        }

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Store what is in no other part of the checkpoint."""
        loader = runner.train_dataloader
        source = index_source(loader) if isinstance(loader, DataLoader) else None
        checkpoint[_OWN_KEY] = {"sampler_seed": _as_seed(getattr(source, "seed", None))}

    def training_random_state(self) -> dict[str, Any]:
        """The random state that the next training step will start from, in this process."""
        if self._before_validation is not None:
            return self._before_validation
        return self._pending if self._pending is not None else capture_random_state()

    # ------------------------------------------------------------------ training

    def before_train(self, runner: Any) -> None:
        """Prepare the data loader and, after a resume, the state to be put back."""
        loop, loader = runner.train_loop, runner.train_dataloader
        loaded, self._loaded = self._loaded, None
        resumed = loaded is not None and (loop.iter > 0 or loop.epoch > 0)
        if resumed:
            self._pending = self._state_of_this_rank(runner, loaded)
        self._warn_of_validation_schedulers(runner)
        if not isinstance(loader, DataLoader):
            runner.logger.warning(
                f"ExactResumeHook cannot seed a {type(loader).__name__}: a resumed run will not "
                "end bit for bit where an unbroken one would."
            )
            return
        if resumed:
            self._warn_of_inexact_position(runner, loop, loader)
            self._warn_of_pending_gradients(runner)
        self._take_over_seed(runner, loader, loaded if resumed else {})
        # Iterators draw their workers' base seed; give them a generator of their own.
        loader.generator = torch.Generator()
        loader.generator.manual_seed(mix_seed(runner.seed, get_rank()))
        self._seed_visits(runner, loop, loader)

    def before_train_epoch(self, runner: Any) -> None:
        """Undo what validation drew; in epoch loops, put the resumed state back."""
        self._put_back_validation()
        # An iteration loop calls this when it starts, not where the broken run stood.
        if not hasattr(runner.train_loop, "dataloader_iterator"):
            self._put_back_pending()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Undo what validation drew; put the resumed state back before the first step."""
        self._put_back_validation()
        self._put_back_pending()

    def before_val(self, runner: Any) -> None:
        """Take the training's random state aside, to be put back before the next step."""
        # Not in `after_val`: hooks that come later there could still draw.
        if self._before_validation is None:
            self._before_validation = self.training_random_state()

    def after_train(self, runner: Any) -> None:
        """Leave the generators as the training left them."""
        self._put_back_validation()
        self._put_back_pending()  # no step was left to do

    def _put_back_validation(self) -> None:
        if self._before_validation is not None:
            restore_random_state(self._before_validation)
            self._before_validation = None

    def _put_back_pending(self) -> None:
        if self._pending is not None:
            restore_random_state(self._pending)
            self._pending = None

    # ------------------------------------------------------------------ preparation

    def _state_of_this_rank(self, runner: Any, loaded: dict) -> dict | None:
        states = loaded[RANDOM_STATE_KEY]
        if not states:
            runner.logger.warning(
                "The checkpoint holds no random state (mmkd_ext.CheckpointHook stores it): the "
                "resumed run will not end bit for bit where an unbroken one would."
            )
            return None
        if len(states) != get_world_size():
            runner.logger.warning(
                f"The checkpoint was written by {len(states)} process(es), this run has "
                f"{get_world_size()}: it will not end bit for bit where an unbroken one would."
            )
            return None
        return states[get_rank()]

    def _take_over_seed(self, runner: Any, loader: DataLoader, loaded: dict) -> None:
        # `Runner.resume` sets `runner.seed` to the checkpoint's, but loader and sampler were
        # built before with the one of this process, which differs when none is configured.
        source = index_source(loader)
        current = _as_seed(getattr(source, "seed", None))
        wanted = loaded.get("sampler_seed")
        if wanted is None and current == self._built_seed:
            wanted = runner.seed
        if current is not None and wanted is not None and current != wanted:
            source.seed = wanted
        init = loader.worker_init_fn
        if isinstance(init, partial) and init.keywords.get("seed") == self._built_seed:
            keywords = {**init.keywords, "seed": runner.seed}
            loader.worker_init_fn = partial(init.func, *init.args, **keywords)

    def _seed_visits(self, runner: Any, loop: Any, loader: DataLoader) -> None:
        problem = None
        if isinstance(loader.dataset, IterableDataset):
            problem = "the dataset is an IterableDataset, which has no indices"
        elif loader.batch_sampler is None:
            problem = "the data loader has no batch sampler (batch_size=None)"
        else:
            source = index_source(loader)
            clock = VisitClock(
                # With `diff_rank_seed` mmengine adds the rank; the clock has it already.
                seed=runner.seed - (get_rank() if _differs_by_rank(runner) else 0),
                rank=get_rank(),
                pass_number=partial(_pass_number, loop),
                batches=source is loader.batch_sampler,
            )
            if not seed_visits_of_sampler(source, clock):
                problem = f"the indices come from a {type(source).__name__}"
            elif not seed_visits_of_dataset(loader.dataset):
                problem = f"{type(loader.dataset).__name__} takes no attribute `__getitems__`"
        if problem is not None:
            runner.logger.warning(
                f"Augmentation cannot be seeded for each visit of a sample, because {problem}. A "
                "resumed run will not end bit for bit where an unbroken one would."
            )
            return
        self._restart_early_iterator(loop, loader)

    def _restart_early_iterator(self, loop: Any, loader: DataLoader) -> None:
        # OpenMMLab's mmengine 0.10 makes the iterator together with the iteration loop: its
        # workers know nothing of the visits and have taken indices from the stream already.
        infinite = getattr(loop, "dataloader_iterator", None)
        if getattr(infinite, "_iterator", None) is None:
            return
        source = index_source(loader)
        if isinstance(source, InfiniteSampler):
            source.indices = source._indices_of_rank()
        infinite._iterator = None  # ends its workers
        loader._iterator = None
        infinite._iterator = iter(loader)

    def _warn_of_inexact_position(self, runner: Any, loop: Any, loader: DataLoader) -> None:
        if getattr(loop, "fast_forward_on_resume", False):
            runner.logger.warning(
                "`fast_forward_on_resume=True` starts the data anew: the resumed run will not end "
                "bit for bit where an unbroken one would."
            )
        if not hasattr(loop, "dataloader_iterator") and loop.iter != loop.epoch * len(loader):
            runner.logger.warning(
                f"The checkpoint was written in the middle of an epoch (iteration {loop.iter}, "
                f"{len(loader)} to an epoch). An epoch-based loop starts that epoch anew, so the "
                "resumed run will not end where an unbroken one would; save by epoch instead."
            )

    def _warn_of_pending_gradients(self, runner: Any) -> None:
        counts = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
        if counts > 1 and runner.iter % counts:
            runner.logger.warning(
                f"The checkpoint was written between two optimizer steps (iteration {runner.iter}, "
                f"accumulative_counts={counts}). Pending gradients are not saved, so the resumed "
                "run will not end where an unbroken one would; save at multiples of that count."
            )

    def _warn_of_validation_schedulers(self, runner: Any) -> None:
        schedulers = runner.param_schedulers or []
        if isinstance(schedulers, dict):
            schedulers = [one for several in schedulers.values() for one in several]
        driven = {type(one).__name__ for one in schedulers if getattr(one, "need_val_args", False)}
        if driven:
            runner.logger.warning(
                f"{', '.join(sorted(driven))} steps after validation, which comes after the "
                "checkpoint: a run resumed from it lacks that step."
            )


def _pass_number(loop: Any) -> int:
    infinite = getattr(loop, "dataloader_iterator", None)
    return loop.epoch if infinite is None else getattr(infinite, "_epoch", 0)


def _differs_by_rank(runner: Any) -> bool:
    return bool(runner._randomness_cfg.get("diff_rank_seed", False))


def _as_seed(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None
