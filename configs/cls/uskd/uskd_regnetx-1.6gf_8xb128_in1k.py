# USKD, RegNetX-1.6GF, no teacher. Schedule: the student's own, 100 epochs, 8 x 128.
_base_ = "mmpretrain::regnet/regnetx-1.6gf_8xb128_in1k.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    losses=dict(
        # Ranked by probabilities (rank="prob", the default) as in the first release, from the time
        # of the published numbers; the code released since July 2023 does as rank="log".
        uskd=dict(type="USKDLoss", tap=dict(logits="head.fc", feature="backbone.layer3"),
                  alpha=1.0, beta=0.1, mu=0.005)),
)
