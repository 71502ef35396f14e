# ViTKD and NKD, DeiT-III-B to DeiT-S. Schedule: the student's own, 300 epochs, 4 x 256, with its
# Mixup and CutMix, whose mixed images both networks see.
_base_ = "mmpretrain::deit/deit-small_4xb256_in1k.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # Pre-trained on ImageNet-21k. The teacher has drop path 0.2, which eval mode keeps off.
    teacher=dict(
        config="mmkd_ext::cls/_base_/deit3-base-p16_teacher_in1k.py",
        checkpoint="https://mmassets.onedl.ai/mmclassification/v0/deit3/deit3-base-p16_in21k-pre_3rdparty_in1k_20221009-87983ca1.pth",
    ),
    losses=dict(
        # Tokens after the first two blocks, and after the final norm. Weights and mask ratio are
        # the loss's defaults, which are the published ones: 3e-5, 3e-6, 0.5.
        vitkd=dict(type="ViTKDLoss", tap=["backbone.layers.{0,1}", "backbone.ln1"]),
        # Under Mixup and CutMix the class of larger weight counts as the target, as published.
        nkd=dict(type="NKDLoss", tap="head.layers.head", gamma=1.0, soft_labels="argmax")),
)
