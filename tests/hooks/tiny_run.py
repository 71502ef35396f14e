"""Real Runner runs of a Distiller around small mmpretrain classifiers on made-up images."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import mmpretrain  # noqa: F401  (its registries)
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS as CLS_MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import Dataset

from mmkd_ext.losses import DistillLoss
from mmkd_ext.registry import DATASETS, MODELS

CLASSES = ("red", "green", "blue", "white")
_numbers = itertools.count()


@DATASETS.register_module()
class Squares(Dataset):
    """A square of one of four colours in some corner; image ``i`` is of class ``i % 4``."""

    def __init__(self, size=16, seed=0, noise=False):
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.randint(0, 120, (size, 3, 16, 16), generator=generator)
        self.metainfo = {"classes": CLASSES}
        self.noise = noise
        self.handed_out = []
        for i in range(size):
            colour = [2 - i % 4] if i % 4 < 3 else [0, 1, 2]  # BGR
            row, column = divmod(i * 7 % 11 % 4, 2)
            for channel in colour:
                self.images[i, channel, 8 * row :, 8 * column :][:8, :8] += 130

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index].clone()
        if self.noise:
            image = image + torch.randint(0, 5, image.shape)
        sample = DataSample().set_gt_label(index % 4)
        self.handed_out.append((index, sample))
        return {"inputs": image.to(torch.uint8), "data_samples": sample}


@MODELS.register_module()
class TinyImitation(DistillLoss):
    """A 1x1 connector with batch norm and dropout, then the mean squared distance."""

    inferred_args = ("student_channels", "teacher_channels")

    def __init__(self, student_channels=None, teacher_channels=None, loss_weight=1.0):
        super().__init__()
        self.loss_weight = loss_weight
        self.connector = nn.Sequential(
            nn.Conv2d(student_channels, teacher_channels, 1),
            nn.BatchNorm2d(teacher_channels),
            nn.Dropout(0.1),
        )

    @classmethod
    def infer_args(cls, student, teacher, cfg):
        return dict(student_channels=student.shape[1], teacher_channels=teacher.shape[1])

    def forward(self, student, teacher, data_samples=None):
        return self.loss_weight * (self.connector(student) - teacher).square().mean()


@MODELS.register_module()
class TwoLayers(BaseBackbone):
    """16 x 16 images to 8 x 8 maps; ``body`` is what tests tap."""

    def __init__(self, width):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width))

    def forward(self, x):
        return (torch.relu(self.body(self.stem(x))),)


def classifier(width):
    return dict(
        type="ImageClassifier",
        backbone=dict(type="mmkd_ext.TwoLayers", width=width),
        neck=dict(type="GlobalAveragePooling"),
        head=dict(type="LinearClsHead", num_classes=4, in_channels=width),
    )


def preprocessor(**changed):
    """A config of its own for each: mmpretrain's classifiers write into theirs."""
    cfg = dict(
        type="ClsDataPreprocessor", mean=[128.0] * 3, std=[64.0] * 3, to_rgb=True, num_classes=4
    )
    return cfg | changed


TEACHER = dict(classifier(12), data_preprocessor=preprocessor())


def loader(dataset="Squares", batch_size=4, shuffle=False, workers=0, **args):
    return dict(
        batch_size=batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        dataset=dict(type=f"mmkd_ext.{dataset}", **args),
        sampler=dict(type="DefaultSampler", shuffle=shuffle),
        collate_fn=dict(type="default_collate"),
    )


def config(work_dir, hooks=(), losses=None, teacher=None, epochs=1, val=True, **changes):
    """A Distiller run: 16 training images in batches of 4."""
    cfg = dict(
        default_scope="mmpretrain",
        model=dict(
            type="mmkd_ext.Distiller",
            student=classifier(4),
            teacher=dict(config=TEACHER) if teacher is None else teacher,
            losses=losses or dict(near=dict(type="TinyImitation", tap="backbone.body")),
            input_shape=(3, 16, 16),
        ),
        data_preprocessor=preprocessor(),
        work_dir=str(work_dir),
        experiment_name=f"tiny_{next(_numbers)}",
        train_dataloader=loader(shuffle=True, noise=True),
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=1),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.9)),
        default_hooks=dict(
            logger=dict(type="LoggerHook", interval=1), checkpoint=dict(type="CheckpointHook")
        ),
        custom_hooks=list(hooks),
        randomness=dict(seed=3),
    )
    if val:
        cfg |= dict(
            val_dataloader=loader(batch_size=5, size=18, seed=1),
            val_cfg=dict(),
            val_evaluator=dict(type="Accuracy", topk=(1,)),
        )
    # A copy, for libraries write into the dicts they are given; formatting takes seconds.
    return Config(copy.deepcopy(cfg | changes), format_python_code=False)


def run(cfg) -> Runner:
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def log_of(runner) -> str:
    """What stands in the run's log file."""
    return "\n".join(path.read_text() for path in Path(runner.work_dir).glob("*/*.log"))


def tensors_of(runner) -> dict:
    model, optimizer = runner.model.state_dict(), runner.optim_wrapper.optimizer
    momenta = {
        f"momentum {i}": state["momentum_buffer"].clone()
        for i, state in enumerate(optimizer.state.values())
    }
    return {**{k: v.clone() for k, v in model.items()}, **momenta}


def good_teacher(path: Path) -> dict:
    """Train a classifier of the squares, in seconds, and save it; returns the teacher's config."""
    init_default_scope("mmpretrain")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLS_MODELS.build(copy.deepcopy(TEACHER))
        optimizer = torch.optim.Adam(model.parameters(), 2e-2)
        dataset = Squares(32, seed=5)
        batch = [dataset[i] for i in range(32)]
        for _ in range(40):
            data = model.data_preprocessor(
                {key: [item[key] for item in batch] for key in batch[0]}, True
            )
            losses = model(**data, mode="loss")
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
    torch.save({"state_dict": model.state_dict()}, path)
    return dict(config=copy.deepcopy(TEACHER), checkpoint=str(path))
