"""What stock configs switch during training goes on working around a Distiller, in real runs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd_ext.apis.train import build_runner, prepare_config
from mmkd_ext.distill import Distiller
from mmkd_ext.distill.checkpoint import read_checkpoint
from mmkd_ext.distill.export import averaged_or_raw, student_weights
from mmkd_ext.registry import HOOKS

from . import tiny_coco
from .detectors import ARCHITECTURES, STUDENT, TEACHER

pytestmark = pytest.mark.filterwarnings("ignore")

EPOCHS = 3
_numbers = itertools.count()


@HOOKS.register_module(force=True)
class Watch(Hook):
    """The student's losses of each training step, and the state of what is switched."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.states: list[Any] = []
        self.sizes: list[tuple[int, ...]] = []  # of the images that the teacher, if any, sees

    def before_train_epoch(self, runner):
        model = runner.model
        watched = model.teacher if isinstance(model, Distiller) else model
        self.handle = watched.backbone.register_forward_pre_hook(
            lambda _, args: self.sizes.append(tuple(args[0].shape[2:]))
        )

    def after_train_epoch(self, runner):
        self.handle.remove()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        own = {k: v.item() for k, v in outputs.items() if not k.startswith("kd.") and k != "loss"}
        self.steps.append(own)
        dataset = runner.train_dataloader.dataset
        transforms = getattr(dataset.pipeline, "transforms", dataset.pipeline)
        self.states.append(
            dict(
                use_l1=getattr(runner.model.bbox_head, "use_l1", None),
                skipped=getattr(dataset, "_skip_type_keys", None),
                pipeline=[type(transform).__name__ for transform in transforms],
            )
        )


def train(
    name: str, root: Path, work_dir: Path, distil: bool, workers: int = 0, **overrides: Any
) -> tuple[Runner, Watch]:
    """The stock config with its own hooks, data pipeline and schedule, three epochs of two steps."""
    architecture = ARCHITECTURES[name]
    cfg = tiny_coco.shrink(architecture.whole(STUDENT))
    classes = len(tiny_coco.CLASSES)
    cfg.merge_from_dict({"model.bbox_head.num_classes": classes, **overrides})
    metainfo = dict(classes=tiny_coco.CLASSES)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        dataset = loader.dataset
        dataset.get("dataset", dataset).metainfo = metainfo
    cfg.train_dataloader.update(num_workers=workers, persistent_workers=workers > 0)
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=EPOCHS, val_interval=EPOCHS)
    cfg.custom_hooks += [dict(type="NumClassCheckHook"), dict(type="mmkd_ext.Watch")]
    cfg.default_hooks.checkpoint.interval = EPOCHS
    if distil:
        cfg.model = dict(
            type="mmkd_ext.Distiller",
            student=cfg.model,
            teacher=dict(config=architecture.model(TEACHER)),  # of other classes than the student
            # It leaves every gradient as it is: what differs then is not the loss's doing.
            losses={key: dict(loss, loss_weight=0.0) for key, loss in architecture.losses.items()},
            input_shape=(3, 64, 64),
        )
    cfg.update(log_level="ERROR", experiment_name=f"{name}_{next(_numbers)}")
    cfg.randomness = dict(seed=1)
    cfg = Config(cfg.to_dict(), format_python_code=False)  # formatting takes seconds
    cfg = prepare_config(cfg, work_dir=str(work_dir), data_root=str(root))
    runner = build_runner(cfg)
    runner.train()
    runner.train_dataloader._iterator = None  # the garbage collector needs 5 s to end its worker
    return runner, next(hook for hook in runner.hooks if isinstance(hook, Watch))


def check_same(work_dirs: list[Path], name: str) -> None:
    """Distilled without weight, the student and its average end where they end without us."""
    checkpoints = [read_checkpoint(folder / f"epoch_{EPOCHS}.pth") for folder in work_dirs]
    bare, distilled = checkpoints
    assert any(key.startswith("distill.") for key in distilled["state_dict"])
    average, raw = (averaged_or_raw(distilled, ema) for ema in (True, False))
    assert not all(torch.equal(average[key], raw[key]) for key in average)  # the EMA hook ran
    for weights, ema in ((average, True), (raw, False)):
        own, expected = student_weights(weights), averaged_or_raw(bare, ema)
        assert own.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.equal(own[key], value), key


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tiny_coco.write(tmp_path_factory.mktemp("coco"))


def test_yolox_switches_its_mode(root, tmp_path):
    resize = dict(
        type="BatchSyncRandomResize", random_size_range=(32, 128), size_divisor=32, interval=1
    )
    switches = {
        "model.data_preprocessor.batch_augments": [resize],
        "custom_hooks.0.num_last_epochs": 1,
    }
    runs = {}
    for distil in (False, True):
        # The same numbers whichever process draws them: the pipeline is switched there, too.
        runs[distil] = train("yolox", root, tmp_path / str(distil), distil, distil, **switches)
    (_, bare), (runner, watch) = runs.values()
    assert watch.steps == bare.steps
    assert watch.sizes == bare.sizes  # the teacher sees the resized batch
    assert len(set(watch.sizes)) > 1
    assert [state["use_l1"] for state in watch.states] == [False] * 2 + [True] * 4
    skipped = ("Mosaic", "RandomAffine", "MixUp")
    assert [state["skipped"] for state in watch.states] == [None] * 2 + [skipped] * 4
    assert ["loss_l1" in step for step in watch.steps] == [False] * 2 + [True] * 4
    assert not runner.model.teacher.bbox_head.use_l1
    check_same([tmp_path / str(distil) for distil in runs], "yolox")


def test_rtmdet_switches_its_pipeline(root, tmp_path):
    runs = {}
    for distil in (False, True):
        switch = {"custom_hooks.1.switch_epoch": 1}
        runs[distil] = train("rtmdet", root, tmp_path / str(distil), distil, **switch)
    (_, bare), (_, watch) = runs.values()
    assert watch.steps == bare.steps
    mosaic = ["CachedMosaic" in state["pipeline"] for state in watch.states]
    assert mosaic == [True] * 2 + [False] * 4
    check_same([tmp_path / str(distil) for distil in runs], "rtmdet")
