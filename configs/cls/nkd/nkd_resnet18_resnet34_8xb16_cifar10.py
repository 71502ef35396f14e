# NKD, ResNet-34 to ResNet-18. Schedule: the student's own, 200 epochs, 8 x 16.
# The settings are those published for CIFAR-100.
_base_ = "mmpretrain::resnet/resnet18_8xb16_cifar10.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    input_shape=(3, 32, 32),
    teacher=dict(
        config="mmpretrain::resnet/resnet34_8xb16_cifar10.py",
        checkpoint="https://mmassets.onedl.ai/mmclassification/v0/resnet/resnet34_b16x8_cifar10_20210528-a8aa36a6.pth",
    ),
    losses=dict(nkd=dict(type="NKDLoss", tap="head.fc", temperature=3.0, gamma=3.5)),
)
