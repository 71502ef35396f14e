# ViTKD and NKD, DeiT-S to DeiT-T. Schedule: the student's own, 300 epochs, 4 x 256, with its
# Mixup and CutMix, whose mixed images both networks see.
_base_ = "mmpretrain::deit/deit-tiny_4xb256_in1k.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmpretrain::deit/deit-small_4xb256_in1k.py",
        checkpoint="https://mmassets.onedl.ai/mmclassification/v0/deit/deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth",
    ),
    losses=dict(
        # Tokens after the first two blocks, and after the final norm. Weights and mask ratio are
        # the loss's defaults, which are the published ones: 3e-5, 3e-6, 0.5.
        vitkd=dict(type="ViTKDLoss", tap=["backbone.layers.{0,1}", "backbone.ln1"]),
        # Under Mixup and CutMix the class of larger weight counts as the target, as published.
        nkd=dict(type="NKDLoss", tap="head.layers.head", gamma=1.0, soft_labels="argmax")),
)
