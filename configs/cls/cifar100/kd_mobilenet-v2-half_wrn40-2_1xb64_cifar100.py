# KD, WRN-40-2 to MobileNetV2 x 0.5. Schedule: the student's own, 240 epochs, 1 x 64.
_base_ = "./mobilenet-v2-half_1xb64_cifar100.py"
custom_imports = dict(imports=["mmkd_ext", "mmkd_ext.models.cifar_mobile"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    student_loss_weight=0.1,
    input_shape=(3, 32, 32),
    teacher=dict(
        config="mmkd_ext::cls/cifar100/wrn40-2_1xb64_cifar100.py",
        checkpoint="work_dirs/wrn40-2_1xb64_cifar100/epoch_240.pth",
        hint="Train it first: python -m mmkd_ext train wrn40-2_1xb64_cifar100.py",
    ),
    losses=dict(kd=dict(type="KDLoss", tap="head.fc", temperature=4.0, alpha=0.9)),
)
