# NKD, WRN-40-2 to ShuffleNetV1, with the settings published for CIFAR-100 (other networks).
_base_ = "./kd_shufflenet-v1_wrn40-2_1xb64_cifar100.py"
model = dict(
    student_loss_weight=1.0,
    losses=dict(
        _delete_=True, nkd=dict(type="NKDLoss", tap="head.fc", temperature=3.0, gamma=3.5)
    ),
)
