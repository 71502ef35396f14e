# tf-NKD, Swin-S, no teacher. Schedule: the student's own, 300 epochs, 16 x 64.
# The loss has no hyper-parameter; the mean in its weights is over the batch of one process, so keep
# 64 images a GPU to do as published.
_base_ = "mmpretrain::swin_transformer/swin-small_16xb64_in1k.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    losses=dict(tf_nkd=dict(type="TFNKDLoss", tap="head.fc")),
)
