# NKD, DeiT-III-S to DeiT-T. Schedule: the student's own, 300 epochs, 4 x 256, with its
# Mixup and CutMix, whose mixed images both networks see.
_base_ = "mmpretrain::deit/deit-tiny_4xb256_in1k.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # Pre-trained on ImageNet-21k. The teacher has drop path 0.05, which eval mode keeps off.
    teacher=dict(
        config="mmkd_ext::cls/_base_/deit3-small-p16_teacher_in1k.py",
        checkpoint="https://mmassets.onedl.ai/mmclassification/v0/deit3/deit3-small-p16_in21k-pre_3rdparty_in1k_20221009-dcd90827.pth",
    ),
    losses=dict(
        # Under Mixup and CutMix the class of larger weight counts as the target, as published.
        nkd=dict(type="NKDLoss", tap="head.layers.head", gamma=1.0, soft_labels="argmax")),
)
