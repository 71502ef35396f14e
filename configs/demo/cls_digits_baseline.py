# The student alone: a ResNet-18 of width 4 (1/16 of the usual 64) on 32x32 images.
_base_ = [
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/datasets/cls_digits.py',
    '../_base_/schedules/cls_digits.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4, zero_init_residual=False),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes=10, in_channels=32,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0)))
default_hooks = dict(
    logger=dict(interval=2),
    checkpoint=dict(interval=75, max_keep_ckpts=2))  # halfway, to resume from, and at the end
randomness = dict(seed=0)
