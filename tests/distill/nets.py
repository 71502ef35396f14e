"""Small networks with mmengine's forward signature, for tests of the engine."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel, ImgDataPreprocessor
from torch import nn


class Tiny(BaseModel):
    """Two convolutions, a shared one that fires twice, and a linear head; 4 classes.

    ``late`` lies behind the head: an early stop never reaches it.
    """

    def __init__(self, width: int = 4, data_preprocessor=None, reads_late: bool = True):
        super().__init__(data_preprocessor=data_preprocessor)
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))
        self.relu = nn.ReLU(inplace=True)
        self.shared = nn.Conv2d(width, width, 1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(width, 4)
        self.late = nn.Identity()
        self.scale = nn.Parameter(torch.ones(1))  # a parameter of the network itself

    def features(self, inputs):
        x = self.relu(self.body(self.stem(inputs)))
        return [self.shared(x), self.shared(F.avg_pool2d(x, 2))]

    def forward(self, inputs, data_samples=None, mode="tensor"):
        fine, coarse = self.features(inputs)
        pooled = self.drop(fine.mean((2, 3)) + coarse.mean((2, 3)))
        logits = self.late(self.head(pooled) * self.scale)
        if mode == "loss":
            return {
                "loss_cls": F.cross_entropy(logits, torch.stack(list(data_samples))),
                "acc": (logits.argmax(1) == torch.stack(list(data_samples))).float().mean(),
            }
        return list(logits) if mode == "predict" else logits


def normalised(mean=(0.0,) * 3, std=(1.0,) * 3, flip=False):
    return ImgDataPreprocessor(mean=list(mean), std=list(std), bgr_to_rgb=flip)


class Distance(nn.Module):
    """Mean squared distance of two taps (or lists of taps), with nothing to train."""

    loss_weight = 1.0

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight
        self.seen = []

    def forward(self, student, teacher, data_samples=None):
        self.seen = [(_detached(student), _detached(teacher))]
        pairs = (
            zip(student, teacher, strict=True)
            if isinstance(student, list)
            else [(student, teacher)]
        )
        return self.loss_weight * sum(F.mse_loss(s, t) for s, t in pairs)


class Connected(nn.Module):
    """A trained 1x1 connector whose widths the distiller infers."""

    inferred_args = ("student_channels", "teacher_channels")

    def __init__(self, student_channels=None, teacher_channels=None, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight
        self.connector = nn.Conv2d(student_channels, teacher_channels, 1)

    @classmethod
    def infer_args(cls, student, teacher, cfg):
        return dict(student_channels=student.shape[1], teacher_channels=teacher.shape[1])

    def forward(self, student, teacher, data_samples=None):
        return self.loss_weight * F.mse_loss(self.connector(student), teacher)


def _detached(value):
    return [v.detach() for v in value] if isinstance(value, list) else value.detach()


def batch(count: int = 2, size: int = 8, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, size, size, generator=generator)
    return images, list(torch.arange(count) % 4)


def total(outputs):
    return sum(value for key, value in outputs.items() if "loss" in key)


# A small classifier of mmpretrain's.
CIFAR = dict(
    _scope_="mmpretrain",
    type="ImageClassifier",
    backbone=dict(type="ResNet_CIFAR", depth=18, base_channels=4, stem_channels=4),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=32),
)
