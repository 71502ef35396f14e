"""Stock hooks that reach into the model, in real runs: a Distiller answers as its student."""

from __future__ import annotations

import copy

import pytest
import torch
from mmcv.transforms import Compose
from mmdet.models import YOLOX
from mmdet.registry import MODELS as DET_MODELS
from mmengine.hooks import Hook
from torch.utils.data import Dataset

from mmkd_ext.registry import DATASETS, TRANSFORMS

from ..hooks import tiny_run
from .nets import Distance
from .stock_models import YOLOX_TINY, det_batch, stock


@DET_MODELS.register_module()
class StagedYOLOX(YOLOX):
    """YOLOX that is told its epoch, which mmdet's hook expects of a model."""

    epochs: list

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.epochs = []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)


def yolox(classes: int) -> dict:
    model = stock(YOLOX_TINY).model
    model.update(type="StagedYOLOX")
    model.data_preprocessor.batch_augments = None
    model.backbone.update(widen_factor=0.125)
    model.neck.update(in_channels=[32, 64, 128], out_channels=16)
    model.bbox_head.update(in_channels=16, feat_channels=16, num_classes=classes)
    return model


@DATASETS.register_module()
class Boxes(Dataset):
    metainfo = dict(classes=("a", "b", "c"))

    def __init__(self):
        self.skipped = None

    def update_skip_type_keys(self, keys):
        self.skipped = keys

    def __len__(self):
        return 2

    def __getitem__(self, index):
        data = det_batch(sizes=((64, 64),), seed=index)
        return {key: value[0] for key, value in data.items()}


class Watch(Hook):
    """What a training step returned, and what ``look`` saw then."""

    def __init__(self, look=lambda runner: None):
        self.look = look
        self.steps = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        ours = ("kd.", "student.")
        own = {k: v.item() for k, v in outputs.items() if not k.startswith(ours)}
        self.steps.append((own, self.look(runner)))


def steps_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, Watch)).steps


def silent(tap: str) -> dict:
    """A loss that leaves every gradient as it is: what differs then is not the loss's doing."""
    return dict(x=dict(type=Distance, tap=tap, loss_weight=0.0))


def detect(tmp_path, distil, classes=3, teacher_classes=7):
    model = yolox(classes)
    if distil:
        model = dict(
            type="mmkd_ext.Distiller",
            student=model,
            teacher=dict(config=yolox(teacher_classes)),
            losses=silent("neck.out_convs.0.conv"),
        )
    watch = dict(
        type=Watch,
        look=lambda runner: (
            runner.model.bbox_head.use_l1,
            list(runner.model.epochs),
            runner.train_dataloader.dataset.skipped,
        ),
    )
    runner = tiny_run.run(
        tiny_run.config(
            tmp_path / str(distil),
            [
                dict(type="NumClassCheckHook"),
                dict(type="SetEpochInfoHook"),
                dict(type="YOLOXModeSwitchHook", num_last_epochs=1, skip_type_keys=("Mosaic",)),
                watch,
            ],
            default_scope="mmdet",
            model=model,
            data_preprocessor=None,
            epochs=3,
            val=False,
            log_level="ERROR",
            train_dataloader=dict(
                tiny_run.loader("Boxes", 2), collate_fn=dict(type="pseudo_collate")
            ),
        )
    )
    return runner, steps_of(runner)


def test_mmdet_hooks_act_on_the_student_through_the_distiller(tmp_path):
    _, bare = detect(tmp_path, distil=False)
    runner, distilled = detect(tmp_path, distil=True)
    assert distilled == bare
    assert [state for _, state in distilled] == [
        (False, [0], None),
        (True, [0, 1], ("Mosaic",)),
        (True, [0, 1, 2], ("Mosaic",)),
    ]
    assert ["loss_l1" in losses for losses, _ in distilled] == [False, True, True]
    assert runner.model.student.bbox_head.use_l1
    with pytest.raises(AssertionError, match=r"num_classes` \(4\) in YOLOXHead"):
        detect(tmp_path, distil=True, classes=4, teacher_classes=3)


@TRANSFORMS.register_module()
class Darken:
    def __call__(self, item):
        return dict(item, inputs=item["inputs"] // 2)


@DATASETS.register_module()
class Piped(tiny_run.Squares):
    """Squares by way of a pipeline, which one of mmpretrain's hooks replaces."""

    CLASSES = tiny_run.CLASSES

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.pipeline = Compose([])

    def __getitem__(self, index):
        return self.pipeline(super().__getitem__(index))


def classify(tmp_path, distil, **changes):
    switch = dict(
        type="SwitchRecipeHook",
        schedule=[
            dict(
                action_epoch=2,
                batch_augments=dict(augments=dict(type="Mixup", alpha=0.8)),
                loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, num_classes=4),
                train_pipeline=[dict(type="mmkd_ext.Darken")],
            )
        ],
    )
    watch = dict(
        type=Watch,
        look=lambda runner: (
            type(runner.model.head.loss_module).__name__,
            type(runner.model.data_preprocessor.batch_augments).__name__,
        ),
    )
    if not distil:
        changes["model"] = tiny_run.classifier(4)
    cfg = tiny_run.config(
        tmp_path / str(distil),
        [dict(type="ClassNumCheckHook"), switch, watch],
        losses=silent("head.fc"),
        epochs=2,
        log_level="ERROR",
        train_dataloader=tiny_run.loader("Piped", shuffle=True),
        val_dataloader=tiny_run.loader("Piped", size=8),
        **changes,
    )
    runner = tiny_run.run(cfg)
    return runner, steps_of(runner)


def test_mmpretrain_hooks_act_on_the_student_through_the_distiller(tmp_path):
    plain, bare = classify(tmp_path, distil=False)
    runner, distilled = classify(tmp_path, distil=True)
    assert distilled == bare
    expected = [("CrossEntropyLoss", "NoneType"), ("LabelSmoothLoss", "RandomBatchAugment")]
    assert [state for _, state in distilled] == [e for e in expected for _ in range(4)]
    assert type(runner.model.student.head.loss_module).__name__ == "LabelSmoothLoss"
    assert [type(t) for t in runner.train_dataloader.dataset.pipeline.transforms] == [Darken]
    for name, value in plain.model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[name], value), name


def test_mmpretrains_class_check_looks_at_the_student_only(tmp_path):
    teacher = copy.deepcopy(tiny_run.TEACHER)
    teacher["head"]["num_classes"] = 9
    student = tiny_run.classifier(4)
    model = dict(
        type="mmkd_ext.Distiller",
        student=student,
        teacher=dict(config=teacher),
        losses=dict(near=dict(type="TinyImitation", tap="backbone.body")),
        input_shape=(3, 16, 16),
    )
    hooks = [dict(type="ClassNumCheckHook")]
    changes = dict(train_dataloader=tiny_run.loader("Piped"), val=False, log_level="ERROR")
    tiny_run.run(tiny_run.config(tmp_path, hooks, model=model, **changes))
    student["head"]["num_classes"] = 9
    with pytest.raises(AssertionError, match=r"num_classes` \(9\) in LinearClsHead"):
        tiny_run.run(tiny_run.config(tmp_path, hooks, model=model, **changes))
