# MobileNetV1, which mmpretrain lacks, on the schedule of its ResNets: 100 epochs, 8 x 32.
_base_ = [
    "mmpretrain::_base_/datasets/imagenet_bs32.py",
    "mmpretrain::_base_/schedules/imagenet_bs256.py",
    "mmpretrain::_base_/default_runtime.py",
]
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    type="ImageClassifier",
    backbone=dict(type="mmkd_ext.MobileNetV1"),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=1024,
        loss=dict(type="CrossEntropyLoss", loss_weight=1.0),
        topk=(1, 5),
    ),
)
