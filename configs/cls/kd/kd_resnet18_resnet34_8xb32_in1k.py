# KD, ResNet-34 to ResNet-18. Schedule: the student's own, 100 epochs, 8 x 32.
_base_ = "mmpretrain::resnet/resnet18_8xb32_in1k.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmpretrain::resnet/resnet34_8xb32_in1k.py",
        checkpoint="https://mmassets.onedl.ai/mmclassification/v0/resnet/resnet34_8xb32_in1k_20210831-f257d4e6.pth",
    ),
    losses=dict(
        # mmrazor's setting: weight 3 beside the whole cross-entropy.
        kd=dict(type="KDLoss", tap="head.fc", temperature=1.0, alpha=3.0)),
)
