"""One training or evaluation of the demo, in this process, through mmengine's Runner.

Training takes the path of ``tools/train.py`` (its config preparation and Runner). Evaluation of a
finished student takes mmengine's and the task library's alone: the stock config, nothing of ours.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmkd_ext import compat
from mmkd_ext.apis.compare import settings_hash
from mmkd_ext.apis.config import fitting, load_config
from mmkd_ext.apis.demo.task import BASELINE, Task
from mmkd_ext.apis.demo.watch import OnEpoch, Points, Watch, silent
from mmkd_ext.apis.shorten import epoch_options
from mmkd_ext.apis.train import build_runner, prepare_config
from mmkd_ext.atomic_file import atomic_write_text
from mmkd_ext.distill.unwrap import student_of

RUN = "run.json"


@dataclass
class Run:
    """What one training left.

    Attributes:
        name: Of the run and its folder.
        seed: Random seed.
        checkpoint: The last checkpoint.
        epochs: Number trained.
        train_images: Number of labelled images it was trained on.
        val: Metric -> (epoch, percent on the val split) as training went on.
        student_loss: (epoch, mean of the student's own loss).
        kd_losses: Name of each distillation loss -> (epoch, mean of its weighted value).
        test: Metric -> percent on the test split, after the last epoch.
        step_seconds: Median time of one step: forward, backward, update; without data loading.
        seconds: The whole training, validation included.
        parameters: Of the network that is deployed.
        macs: Multiply-accumulates of one image.
        added_parameters: Of the loss modules, which exist in training only.
        kept: Whether an earlier call trained it.
    """

    name: str
    seed: int
    checkpoint: str
    epochs: int
    train_images: int
    val: dict[str, Points]
    student_loss: Points
    kd_losses: dict[str, Points]
    test: dict[str, float]
    step_seconds: float
    seconds: float
    parameters: int
    macs: int
    added_parameters: int
    kept: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; a metric's have its name: ``val_top1``, ``test_top1``."""
        plain = asdict(self)
        for split in ("val", "test"):
            plain |= {f"{split}_{name}": value for name, value in plain.pop(split).items()}
        return plain


@dataclass
class Evaluation:
    """A checkpoint in the stock config, on the test split.

    Attributes:
        scores: Metric -> percent.
        count: Number of test images.
        answers: What the task's pictures need, as its collector took it down.
    """

    scores: dict[str, float]
    count: int
    answers: Any


def use_one_thread() -> None:
    """Networks this small gain little from a second one, and lose much when they share cores."""
    torch.set_num_threads(1)


def train(
    task: Task,
    role: str,
    work_dir: Path,
    *,
    seed: int,
    epochs: int | None = None,
    scale: float | None = None,
    options: Mapping[str, Any] | None = None,
    resume: bool = False,
    on_epoch: OnEpoch = lambda *_: None,
) -> Run:
    """Train one of a task's configs, test it, and measure.

    Args:
        task: Whose.
        role: The config's.
        work_dir: Of this run; its name is the run's.
        seed: Random seed.
        epochs: Changes the schedule to this many; None keeps the config's.
        scale: Or to so many times the config's.
        options: As ``--cfg-options``; those that this config has a place for.
        resume: Return what an earlier call with the same settings left in the folder, if it ended.
        on_epoch: Called with (epochs done, epochs in all, last val score or None).
    """
    cfg = load_config(task.config(role))
    if scale is not None:
        epochs = max(round(scale * cfg.train_cfg.max_epochs), 1)
    if epochs is not None:
        cfg.merge_from_dict(epoch_options(cfg, epochs))
    _name(cfg, f"{task.stem}_{work_dir.name}")
    mine = fitting(cfg, options)
    cfg = prepare_config(cfg, work_dir=str(work_dir), cfg_options={"randomness.seed": seed, **mine})
    settings = settings_hash(cfg)
    if resume and (kept := _kept(work_dir / RUN, settings)):
        return kept
    (work_dir / RUN).unlink(missing_ok=True)
    watch = Watch(task, on_epoch)
    with silent():
        runner = build_runner(cfg)
        runner.register_hook(watch, priority="VERY_LOW")
        begin = time.perf_counter()
        model = runner.train()
        seconds = time.perf_counter() - begin
        test = task.scores(runner.test())
    student = student_of(model)
    added = sum(p.numel() for p in model.distill.parameters()) if student is not model else 0
    run = Run(
        name=work_dir.name,
        seed=seed,
        checkpoint=(work_dir / "last_checkpoint").read_text(encoding="utf-8").strip(),
        epochs=runner.max_epochs,
        train_images=len(runner.train_dataloader.dataset),
        val=watch.val,
        student_loss=watch.student_loss,
        kd_losses=watch.kd_losses,
        test=test,
        step_seconds=watch.step_seconds,
        seconds=seconds,
        parameters=sum(p.numel() for p in student.parameters()),
        macs=count_macs(task, student, runner),
        added_parameters=added,
    )
    write_json(work_dir / RUN, {"settings": settings, **asdict(run)})
    return run


def _kept(path: Path, settings: str) -> Run | None:
    """The run that the file tells of, if it had the same settings and its checkpoint is there."""
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.pop("settings", None) != settings or not Path(content["checkpoint"]).is_file():
        return None
    if set(content) != {field.name for field in fields(Run)}:
        return None  # of another version
    return Run(**{**content, "kept": True})


def evaluate_stock(
    task: Task,
    checkpoint: str,
    work_dir: Path,
    role: str = BASELINE,
    options: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Test a checkpoint the stock way: ``mim test``'s steps on a stock config."""
    cfg = Config.fromfile(compat.resolve_config(task.config(role)))
    cfg.merge_from_dict(fitting(cfg, options))
    cfg.work_dir, cfg.load_from = str(work_dir), checkpoint
    _name(cfg, f"{task.stem}_{work_dir.name}_{Path(checkpoint).parent.name}")
    if task.library == "mmpretrain":  # as its own tools do
        for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
            cfg[loader].collate_fn = dict(type="default_collate")
    # Out of the way of bare config names, as in training: the Runner dumps the config here.
    object.__setattr__(cfg, "_filename", str(Path(cfg.filename).with_name("stock_resolved.py")))
    collector = task.picture_module.Collector()
    with silent():
        runner = Runner.from_cfg(cfg)
        runner.register_hook(collector)
        scores = task.scores(runner.test())
    return Evaluation(scores, len(runner.test_dataloader.dataset), collector.answers)


def _name(cfg: Config, name: str) -> None:
    """Tell this run from others in this process.

    mmengine keeps loggers and visualizers by name, with the folder they write to, and the stock
    configs of mmdet and mmseg name all visualizers alike.
    """
    cfg.experiment_name = name
    if cfg.get("visualizer"):
        cfg.visualizer.pop("name", None)  # the Runner then names it after the experiment


def count_macs(task: Task, model: nn.Module, runner: Runner) -> int:
    """Multiply-accumulates of one image: the whole forward, and no training.

    Where the network takes more than an image they are those of predicting the first test image,
    without norms.
    """
    # A copy: mmengine's counter traces, and leaves wrappers behind.
    network = copy.deepcopy(model).eval()
    if task.plain_side is None:
        from mmkd_ext.hooks.macs import counting_macs

        loader = runner.test_dataloader
        batch = loader.collate_fn([loader.dataset[0]])
        with silent(), torch.no_grad(), counting_macs() as count:
            network.test_step(batch)
        return int(count.macs)
    from mmengine.analysis import get_model_complexity_info

    size = (3, task.plain_side, task.plain_side)
    with silent():  # mmengine calls them flops
        info = get_model_complexity_info(
            network.cpu(), input_shape=size, show_table=False, show_arch=False
        )
    return int(info["flops"])


def write_json(path: Path, content: Any) -> None:
    """Write plain values, readably."""
    atomic_write_text(json.dumps(content, indent=2) + "\n", path)
