# The student of cls_digits_baseline.py, taught by the teacher of cls_digits_teacher.py.
_base_ = './cls_digits_baseline.py'
custom_imports = dict(imports=['mmkd_ext'], allow_failed_imports=False)
default_hooks = dict(
    checkpoint=dict(type='mmkd_ext.CheckpointHook'),
    exact_resume=dict(type='mmkd_ext.ExactResumeHook'))
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', student=_base_.model, input_shape=(3, 32, 32),
    teacher=dict(
        config='mmkd_ext::demo/cls_digits_teacher.py',
        checkpoint=_base_.demo_root + '/teachers/cls_digits_teacher.pth',
        hint='Train it first: python -m mmkd_ext train cls_digits_teacher.py'),
    losses=dict(
        nkd=dict(type='NKDLoss', tap='head.fc', temperature=2.0, gamma=1.5),
        mgd=dict(type='MGDLoss', tap='backbone.layer4', mask='channel', mask_ratio=0.15, loss_weight=3e-3)))
