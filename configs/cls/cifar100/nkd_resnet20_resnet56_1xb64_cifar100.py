# NKD, ResNet-56 to ResNet-20, with the settings published for CIFAR-100 (other networks).
_base_ = "./kd_resnet20_resnet56_1xb64_cifar100.py"
model = dict(
    student_loss_weight=1.0,
    losses=dict(
        _delete_=True, nkd=dict(type="NKDLoss", tap="head.fc", temperature=3.0, gamma=3.5)
    ),
)
