# Self-distillation: no teacher.
_base_ = './cifar10_cnn_baseline.py'
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', student=_base_.model,
    losses=dict(tf_nkd=dict(type='TFNKDLoss', tap='head.fc')))
