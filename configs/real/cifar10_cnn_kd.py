# Plain logit distillation, beside the full cross-entropy.
_base_ = './cifar10_cnn_baseline.py'
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', student=_base_.model, input_shape=(3, 32, 32),
    teacher=dict(
        config='mmkd_ext::real/cifar10_cnn_teacher.py',
        checkpoint='work_dirs/cifar10_cnn_teacher/epoch_60.pth',
        hint='Train it first: python -m mmkd_ext train cifar10_cnn_teacher.py --data-root PATH'),
    losses=dict(kd=dict(type='KDLoss', tap='head.fc', temperature=4.0, alpha=3.0)))
