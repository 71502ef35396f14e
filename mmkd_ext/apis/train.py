"""Training: what ``tools/train.py``, ``python -m mmkd_ext train`` and notebooks call.

Nothing heavy is imported before the options are read: mim runs ``train.py -h`` before every
training.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd_ext import compat
from mmkd_ext.apis.config import dump_under_another_name, load_config, set_data_root
from mmkd_ext.apis.errors import UserError, main_guard
from mmkd_ext.apis.launch import check_launcher, has_accelerator, start_cpu_processes
from mmkd_ext.apis.options import CONFIG_HELP, add_common_options, export_local_rank

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

# `mmkd_default_hooks = False` in a config keeps mmengine's own checkpoint hook and adds none.
HOOKS_SWITCH = "mmkd_default_hooks"
_STOCK_CHECKPOINT_HOOKS = ("CheckpointHook", "mmengine.CheckpointHook")


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``train``."""
    parser = argparse.ArgumentParser(prog=prog, description="Train a model, distilled or not.")
    parser.add_argument("config", help=CONFIG_HELP)
    add_common_options(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="PATH",
        help="go on from PATH, or from the work folder's latest checkpoint (auto, or no value)",
    )
    parser.add_argument(
        "--amp", action="store_true", help="automatic mixed precision (needs an accelerator)"
    )
    parser.add_argument("--no-validate", action="store_true", help="train without validation")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate from the config's base batch size to the real one",
    )
    parser.add_argument(
        "--no-persistent-workers",
        action="store_true",
        help="start new data loading processes every epoch",
    )
    args = parser.parse_args(argv)
    export_local_rank(args)
    return args


def prepare_config(
    cfg: Config,
    *,
    work_dir: str | None = None,
    amp: bool = False,
    resume: str | bool | None = None,
    validate: bool = True,
    auto_scale_lr: bool = False,
    data_root: str | None = None,
    launcher: str = "none",
    pin_memory: bool = True,
    persistent_workers: bool = True,
    cfg_options: Mapping[str, Any] | None = None,
) -> Config:
    """Turn a config as read into one that the Runner can train.

    Adds our checkpoint and exact-resume hooks, sets what the options say, and makes the Runner
    write the config under another name than its own (see :func:`dump_under_another_name`).

    Args:
        cfg: Changed in place and returned.
        work_dir: Goes before the config's own; ``./work_dirs/<config>`` where neither is given.
        amp: Use mmengine's ``AmpOptimWrapper``.
        resume: ``'auto'`` or True for the latest checkpoint of the work folder, or a path.
        validate: False drops the validation loop.
        auto_scale_lr: Switch on the config's ``auto_scale_lr``.
        data_root: See :func:`mmkd_ext.apis.config.set_data_root`; what it replaced is printed.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        pin_memory: False keeps loaders from pinning (mmpretrain configs only).
        persistent_workers: False starts loading processes anew each epoch (likewise).
        cfg_options: Merged after these, so they win; only pinning and persistent workers are still
            fitted to the machine and the number of workers.

    Raises:
        UserError: An option cannot be met; the message says why.
    """
    cfg.launcher = launcher
    set_work_dir(cfg, work_dir)
    if not validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if auto_scale_lr:
        _switch_on_lr_scaling(cfg)
    if resume:
        _set_resume(cfg, resume)
    if data_root is not None:
        report_data_root(cfg, data_root)
    if amp:
        _set_amp(cfg)
    if cfg_options:
        cfg.merge_from_dict(dict(cfg_options))
    # After the options: persistence depends on the number of workers.
    set_loader_defaults(cfg, pin_memory, persistent_workers)
    _check_amp(cfg)
    add_default_hooks(cfg)
    dump_under_another_name(cfg)
    return cfg


def add_default_hooks(cfg: Config) -> None:
    """Put our checkpoint and exact-resume hooks into ``default_hooks``.

    ``default_hooks`` is a dict, so this works on top of any config. A stock ``CheckpointHook``
    keeps its arguments; a hook of another type is the user's choice and stays. None in either
    place, or ``mmkd_default_hooks = False``, leaves the hook out.
    """
    if cfg.get("default_hooks") is None:
        cfg.default_hooks = {}
    hooks = cfg.default_hooks
    if cfg.get(HOOKS_SWITCH, True):
        hooks.setdefault("checkpoint", dict(type="CheckpointHook"))
        checkpoint = hooks.checkpoint
        if isinstance(checkpoint, dict) and checkpoint.get("type") in _STOCK_CHECKPOINT_HOOKS:
            checkpoint.type = "mmkd_ext.CheckpointHook"
        hooks.setdefault("exact_resume", dict(type="mmkd_ext.ExactResumeHook"))
    if hooks.get("exact_resume", True) is None:
        hooks.pop("exact_resume")  # the Runner takes None only for hooks of its own


def build_runner(cfg: Config) -> Runner:
    """Build the Runner (or the config's ``runner_type``); CPU process groups included.

    Every checkpoint is read weights-only from here on.
    """
    compat.force_weights_only()
    start_cpu_processes(cfg)
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from mmkd_ext.distill.checkpoint import install_reader

    install_reader()
    if "runner_type" in cfg:
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)


def train(cfg: Config) -> Runner:
    """Train a config that :func:`prepare_config` made, once its annotations were looked at.

    Raises:
        UserError: See :func:`mmkd_ext.apis.annotations.check_annotations`.
    """
    from mmkd_ext.apis.annotations import check_annotations

    runner = build_runner(cfg)
    check_annotations(runner)
    runner.train()
    return runner


def set_work_dir(cfg: Config, work_dir: str | None) -> None:
    """The option goes before the config's own, and ``./work_dirs/<config>`` after both."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get("work_dir") is None:
        stem = Path(cfg.filename).stem if cfg.filename else "mmkd_ext"
        cfg.work_dir = os.path.join("work_dirs", stem)
    folder = Path(cfg.work_dir).expanduser()
    cfg.work_dir = str(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--work-dir {folder} is a file; name a folder.")


def set_loader_defaults(cfg: Config, pin_memory: bool, persistent_workers: bool) -> None:
    """The loader settings that mmpretrain's tools add to mmpretrain's configs, and rely on.

    Unlike there, workers persist only where there are any (torch refuses otherwise), and memory
    is pinned only for an accelerator.
    """
    if cfg.get("default_scope") != "mmpretrain":
        return
    pin = pin_memory and has_accelerator()
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = cfg.get(name)
        if not isinstance(loader, dict):
            continue
        workers = loader.get("num_workers", 0) > 0
        loader.setdefault("collate_fn", dict(type="default_collate"))
        loader.setdefault("pin_memory", pin)
        loader.setdefault("persistent_workers", workers)
        loader["pin_memory"] = bool(loader["pin_memory"] and pin)
        loader["persistent_workers"] = bool(
            loader["persistent_workers"] and workers and persistent_workers
        )


def report_data_root(cfg: Config, data_root: str) -> None:
    """Set the data root and print every value that it replaced."""
    for done in set_data_root(cfg, data_root):
        print(f"--data-root: {done.key}: {done.old} -> {done.new}")


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Train from the command line."""
    args = parse_args(argv, prog)
    check_launcher(args.launcher)
    cfg = prepare_config(
        load_config(args.config),
        work_dir=args.work_dir,
        amp=args.amp,
        resume=args.resume,
        validate=not args.no_validate,
        auto_scale_lr=args.auto_scale_lr,
        data_root=args.data_root,
        launcher=args.launcher,
        pin_memory=not args.no_pin_memory,
        persistent_workers=not args.no_persistent_workers,
        cfg_options=args.cfg_options,
    )
    train(cfg)


def _set_resume(cfg: Config, resume: str | bool) -> None:
    cfg.resume = True
    cfg.load_from = None
    if resume is True or resume == "auto":
        return
    if "://" not in resume:
        path = Path(resume).expanduser()
        if not path.is_file():
            raise UserError(
                f"--resume {resume}: there is no such file. `--resume` alone takes the latest "
                f"checkpoint of {cfg.work_dir}."
            )
        resume = str(path)
    cfg.load_from = resume


def _switch_on_lr_scaling(cfg: Config) -> None:
    if not (cfg.get("auto_scale_lr") or {}).get("base_batch_size"):
        raise UserError(
            "--auto-scale-lr: the config does not say for which batch size its learning rate is "
            "meant; add `auto_scale_lr = dict(base_batch_size=...)`."
        )
    cfg.auto_scale_lr.enable = True


def _set_amp(cfg: Config) -> None:
    wrapper = cfg.get("optim_wrapper") or {}
    kind = wrapper.get("type", "OptimWrapper")
    if kind not in ("OptimWrapper", "AmpOptimWrapper"):
        raise UserError(f"--amp works on `OptimWrapper`, but this config's is of type {kind}.")
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.setdefault("loss_scale", "dynamic")


def _check_amp(cfg: Config) -> None:
    kind = (cfg.get("optim_wrapper") or {}).get("type")
    if kind == "AmpOptimWrapper" and not has_accelerator():
        raise UserError(
            "Mixed precision needs an accelerator: mmengine's AmpOptimWrapper refuses the CPU. "
            "Drop --amp, or train with --cfg-options optim_wrapper.type=OptimWrapper where the "
            "config itself asks for it."
        )
