# KD, ResNet-50 to ShuffleNetV2. Schedule: the student's own, 300 epochs, 16 x 64.
# mmrazor's config file says weight 5, the names of its model and log say 3, as here.
_base_ = "mmpretrain::shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py"
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
