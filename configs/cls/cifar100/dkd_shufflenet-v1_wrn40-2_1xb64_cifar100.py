# DKD, WRN-40-2 to ShuffleNetV1: the whole cross-entropy beside it, and 20 epochs of warm-up.
_base_ = "./kd_shufflenet-v1_wrn40-2_1xb64_cifar100.py"
model = dict(
    student_loss_weight=1.0,
    losses=dict(
        _delete_=True,
        dkd=dict(
            type="DKDLoss",
            tap="head.fc",
            temperature=4.0,
            alpha=1.0,
            beta=8.0,
            schedule=dict(type="warmup", end=20),
        ),
    ),
)
