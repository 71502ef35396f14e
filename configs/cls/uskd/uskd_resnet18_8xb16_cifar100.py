# USKD, ResNet-18, no teacher. Schedule: the student's own, 200 epochs, 8 x 16.
_base_ = "../cifar100/resnet18_8xb16_cifar100.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    input_shape=(3, 32, 32),
    losses=dict(
        # Ranked by probabilities (rank="prob", the default) as in the first release, from the time
        # of the published numbers; the code released since July 2023 does as rank="log".
        uskd=dict(type="USKDLoss", tap=dict(logits="head.fc", feature="backbone.layer3"),
                  alpha=0.1, beta=0.1, mu=0.1)),
)
