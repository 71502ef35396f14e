# KD, ResNet-56 to ResNet-20. Schedule: the student's own, 240 epochs, 1 x 64.
_base_ = "./resnet20_1xb64_cifar100.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    student_loss_weight=0.1,
    input_shape=(3, 32, 32),
    teacher=dict(
        config="mmkd_ext::cls/cifar100/resnet56_1xb64_cifar100.py",
        checkpoint="work_dirs/resnet56_1xb64_cifar100/epoch_240.pth",
        hint="Train it first: python -m mmkd_ext train resnet56_1xb64_cifar100.py",
    ),
    losses=dict(kd=dict(type="KDLoss", tap="head.fc", temperature=4.0, alpha=0.9)),
)
