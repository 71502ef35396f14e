# SRRL, ResNet-34 to ResNet-18. Schedule: the student's own, 200 epochs, 8 x 16.
_base_ = "../cifar100/resnet18_8xb16_cifar100.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    input_shape=(3, 32, 32),
    # The authors' code leaves the teacher in train mode, its batch norm on batch statistics:
    # --cfg-options model.teacher.mode=train does so.
    teacher=dict(
        config="mmkd_ext::cls/cifar100/resnet34_8xb16_cifar100.py",
        checkpoint="work_dirs/resnet34_8xb16_cifar100/epoch_200.pth",
        hint="Train it first: python -m mmkd_ext train resnet34_8xb16_cifar100.py",
    ),
    losses=dict(srrl=dict(type="SRRLLoss", tap="backbone.layer4", alpha=1.0, beta=5.0)),
)
