# USKD, DeiT-T, no teacher. Schedule: the student's own, 300 epochs, 4 x 256.
_base_ = "mmpretrain::deit/deit-tiny_4xb256_in1k.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    losses=dict(
        # Ranked by probabilities (rank="prob", the default) as in the first release, from the time
        # of the published numbers; the code released since July 2023 does as rank="log".
        uskd=dict(type="USKDLoss", tap=dict(logits="head.layers.head", feature="backbone.layers.5"),
                  alpha=1.0, beta=0.1, mu=0.005)),
)
