# DKD, ResNet-32x4 to ShuffleNetV2: the whole cross-entropy beside it, and 20 epochs of warm-up.
_base_ = "./kd_shufflenet-v2_resnet32x4_1xb64_cifar100.py"
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
