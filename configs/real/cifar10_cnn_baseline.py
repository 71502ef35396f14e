# The student alone: ResNet-8, 77,392 parameters and a linear head.
_base_ = [
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/datasets/cls_cifar10_folder.py',
    '../_base_/schedules/cls_cifar10_cnn.py',
]
custom_imports = dict(imports=['mmkd_ext'], allow_failed_imports=False)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmkd_ext.ResNetCifar', depth=8, channels=(16, 16, 32, 64)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=64,
              loss=dict(type='CrossEntropyLoss', loss_weight=1.0)))
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=1))
