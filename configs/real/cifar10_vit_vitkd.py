# ViTKD, with the published weights.
_base_ = './cifar10_vit_baseline.py'
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', student=_base_.model, input_shape=(3, 32, 32),
    teacher=dict(
        config='mmkd_ext::real/cifar10_vit_teacher.py',
        checkpoint='work_dirs/cifar10_vit_teacher/epoch_100.pth',
        hint='Train it first: python -m mmkd_ext train cifar10_vit_teacher.py --data-root PATH'),
    losses=dict(vitkd=dict(
        type='ViTKDLoss', tap=['backbone.layers.{0,1}', 'backbone.ln1'],
        mimic_weight=3e-5, generation_weight=3e-6)))
