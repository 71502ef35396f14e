# ResNet-32x4, 240 epochs, 1 x 64.
_base_ = [
    "mmpretrain::_base_/default_runtime.py",
    "../../_base_/datasets/cls_cifar100_bs64.py",
    "../../_base_/schedules/cls_cifar100_240e.py",
]
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
model = dict(
    type="ImageClassifier",
    backbone=dict(type="mmkd_ext.ResNetCifar", depth=32, channels=(32, 64, 128, 256)),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=100,
        in_channels=256,
        loss=dict(type="CrossEntropyLoss", loss_weight=1.0),
    ),
)
