"""One training or evaluation of the demo, in this process, through mmengine's Runner.

Training takes the path of ``tools/train.py`` (its config preparation and Runner). Evaluation of a
finished student takes mmengine's and mmpretrain's alone: the stock config, nothing of ours.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmkd_ext import compat
from mmkd_ext.apis.config import load_config
from mmkd_ext.apis.shorten import epoch_options
from mmkd_ext.apis.train import build_runner, prepare_config
from mmkd_ext.distill.distiller import Distiller

TOP1 = "accuracy/top1"  # mmpretrain's key, in percent
# mmpretrain's heads call their loss `loss`; a Distiller logs its total under that name.
PLAIN_LOSS, STUDENT_LOSS = "loss", "student.loss"
KD_LOSS = "kd.loss_"
WARM_UP_STEPS = 5  # not timed: the first steps allocate
OnEpoch = Callable[[int, int, float | None], None]


@dataclass
class Run:
    """What one training left.

    Attributes:
        name: Of the run and its folder.
        seed: Random seed.
        checkpoint: The last checkpoint.
        epochs: Number trained.
        train_images: Number of labelled images it was trained on.
        val_top1: (epoch, top-1 in percent on the val split) as training went on.
        student_loss: (epoch, mean of the student's own loss: cross-entropy with the labels, nats).
        kd_losses: Name of each distillation loss -> (epoch, mean of its weighted value).
        test_top1: Percent on the test split, after the last epoch.
        step_seconds: Median time of one step: forward, backward, update; without data loading.
        seconds: The whole training, validation included.
        parameters: Of the network that is deployed.
        macs: Multiply-accumulates of one forward of one image.
        added_parameters: Of the loss modules, which exist in training only.
    """

    name: str
    seed: int
    checkpoint: str
    epochs: int
    train_images: int
    val_top1: list[tuple[int, float]]
    student_loss: list[tuple[int, float]]
    kd_losses: dict[str, list[tuple[int, float]]]
    test_top1: float
    step_seconds: float
    seconds: float
    parameters: int
    macs: int
    added_parameters: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass
class Evaluation:
    """A checkpoint in the stock config, on the test split.

    Attributes:
        top1: Percent.
        images: Path of each test image, in the dataset's order.
        labels: Its class.
        predicted: The class with the highest score.
        confidence: That score, 0..1.
    """

    top1: float
    images: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)


def train(
    config: str,
    work_dir: Path,
    *,
    seed: int,
    epochs: int | None = None,
    options: dict[str, Any] | None = None,
    on_epoch: OnEpoch = lambda *_: None,
) -> Run:
    """Train a config, test it, and measure.

    Args:
        config: Path, ``pkg::`` name or bare name.
        work_dir: Of this run; its name is the run's.
        seed: Random seed.
        epochs: Shortens the schedule to this many; None keeps the config's.
        options: As ``--cfg-options``.
        on_epoch: Called with (epochs done, epochs in all, last val top-1 or None).
    """
    cfg = load_config(config)
    if epochs is not None:
        cfg.merge_from_dict(epoch_options(cfg, epochs))
    cfg.experiment_name = work_dir.name
    options = {"randomness.seed": seed, **(options or {})}
    cfg = prepare_config(cfg, work_dir=str(work_dir), cfg_options=options)
    watch = _Watch(on_epoch)
    with silent():
        runner = build_runner(cfg)
        runner.register_hook(watch, priority="VERY_LOW")
        begin = time.perf_counter()
        model = runner.train()
        seconds = time.perf_counter() - begin
        test_top1 = runner.test()[TOP1]
    student = model.student if isinstance(model, Distiller) else model
    added = sum(p.numel() for p in model.distill.parameters()) if student is not model else 0
    return Run(
        name=work_dir.name,
        seed=seed,
        checkpoint=(work_dir / "last_checkpoint").read_text(encoding="utf-8").strip(),
        epochs=runner.max_epochs,
        train_images=len(runner.train_dataloader.dataset),
        val_top1=watch.val_top1,
        student_loss=watch.losses.pop(STUDENT_LOSS),
        kd_losses=watch.losses,
        test_top1=test_top1,
        step_seconds=statistics.median(watch.steps[WARM_UP_STEPS:] or watch.steps),
        seconds=seconds,
        parameters=sum(p.numel() for p in student.parameters()),
        macs=count_macs(student, cfg),
        added_parameters=added,
    )


def evaluate_stock(config: str, checkpoint: str, work_dir: Path) -> Evaluation:
    """Test a checkpoint the stock way: ``mim test mmpretrain``'s steps on a stock config."""
    cfg = Config.fromfile(compat.resolve_config(config))
    cfg.work_dir, cfg.load_from = str(work_dir), checkpoint
    cfg.experiment_name = f"{work_dir.name}_{Path(checkpoint).parent.name}"
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[loader].collate_fn = dict(type="default_collate")
    # Out of the way of bare config names, as in training: the Runner dumps the config here.
    object.__setattr__(cfg, "_filename", str(Path(cfg.filename).with_name("stock_resolved.py")))
    result = Evaluation(top1=0.0)
    with silent():
        runner = Runner.from_cfg(cfg)
        runner.register_hook(_Predictions(result))
        result.top1 = runner.test()[TOP1]
    return result


def count_macs(model: nn.Module, cfg: Config) -> int:
    """Multiply-accumulates of one image; mmengine calls them flops."""
    from mmengine.analysis import get_model_complexity_info

    size = cfg.train_pipeline[1].crop_size
    # A copy: the counter traces, and leaves wrappers behind.
    network = copy.deepcopy(model).cpu().eval()
    with silent():
        info = get_model_complexity_info(
            network, input_shape=(3, size, size), show_table=False, show_arch=False
        )
    return int(info["flops"])


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep the Runner off the console; its log files say it all.

    mmengine's logger keeps the stream that it was made with, so a Runner that is built within
    stays quiet. What is printed goes nowhere; errors go their way.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Watch(Hook):
    """Tells the progress display, and takes down curves and step times."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        self.on_epoch = on_epoch
        self.val_top1: list[tuple[int, float]] = []
        self.losses: dict[str, list[tuple[int, float]]] = {}
        self.steps: list[float] = []
        self._of_epoch: dict[str, list[float]] = {}
        self._begin = 0.0

    def before_train_epoch(self, runner: Runner) -> None:
        self._of_epoch = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._begin = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        # Reading the values also waits for a device that works asynchronously.
        own = STUDENT_LOSS if STUDENT_LOSS in outputs else PLAIN_LOSS
        values = {STUDENT_LOSS: float(outputs[own])} | {
            key.removeprefix(KD_LOSS): float(value)
            for key, value in outputs.items()
            if key.startswith(KD_LOSS)
        }
        self.steps.append(time.perf_counter() - self._begin)
        for key, value in values.items():
            self._of_epoch.setdefault(key, []).append(value)

    def after_train_epoch(self, runner: Runner) -> None:
        for key, values in self._of_epoch.items():
            self.losses.setdefault(key, []).append((runner.epoch + 1, statistics.fmean(values)))
        self._report(runner, runner.epoch + 1)

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        self.val_top1.append((runner.epoch, metrics[TOP1]))
        self._report(runner, runner.epoch)

    def _report(self, runner: Runner, done: int) -> None:
        last = self.val_top1[-1][1] if self.val_top1 else None
        self.on_epoch(done, runner.max_epochs, last)


class _Predictions(Hook):
    """Takes down what was predicted in a test."""

    def __init__(self, result: Evaluation) -> None:
        self.result = result

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for sample in outputs:
            self.result.images.append(sample.img_path)
            self.result.labels.append(int(sample.gt_label))
            self.result.predicted.append(int(sample.pred_label))
            self.result.confidence.append(float(sample.pred_score.max()))


def write_json(path: Path, content: Any) -> None:
    """Write plain values, readably."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
