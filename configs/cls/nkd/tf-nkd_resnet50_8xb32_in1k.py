# tf-NKD, ResNet-50, no teacher. Schedule: the student's own, 100 epochs, 8 x 32.
# The loss has no hyper-parameter; the mean in its weights is over the batch of one process, so keep
# 32 images a GPU to do as published.
_base_ = "mmpretrain::resnet/resnet50_8xb32_in1k.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    losses=dict(tf_nkd=dict(type="TFNKDLoss", tap="head.fc")),
)
