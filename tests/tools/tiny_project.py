"""A tiny mmpretrain config with eight images, written where a test wants it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

CONFIG = """
default_scope = 'mmpretrain'
data_root = 'data/never'
data_preprocessor = dict(num_classes=2, mean=[127.] * 3, std=[64.] * 3, to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=32,
              loss=dict(type='CrossEntropyLoss')))
pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train', pipeline=pipeline))
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train', pipeline=pipeline))
val_evaluator = dict(type='Accuracy', topk=(1, ))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3))
"""


def write(folder: Path) -> Path:
    """Write config and images; the data lies in ``folder/images``, unlike the config says."""
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        place = folder / "images" / "train" / label
        place.mkdir(parents=True)
        for index in range(4):
            image = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            cv2.imwrite(str(place / f"{index}.png"), image)
    config = folder / "tiny_project_config.py"
    config.write_text(CONFIG)
    return config
