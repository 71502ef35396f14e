# KD, ResNet-50 to MobileNetV2. Schedule: the student's own, 300 epochs, 8 x 32.
_base_ = "mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmpretrain::resnet/resnet50_8xb32_in1k.py",
        checkpoint="https://mmassets.onedl.ai/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth",
    ),
    losses=dict(
        # mmrazor's setting: weight 3 beside the whole cross-entropy.
        kd=dict(type="KDLoss", tap="head.fc", temperature=1.0, alpha=3.0)),
)
