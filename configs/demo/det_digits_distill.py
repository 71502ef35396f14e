# The student of det_digits_baseline.py, taught by the teacher of det_digits_teacher.py.
_base_ = './det_digits_baseline.py'
custom_imports = dict(imports=['mmkd_ext'], allow_failed_imports=False)
default_hooks = dict(
    checkpoint=dict(type='mmkd_ext.CheckpointHook'),
    exact_resume=dict(type='mmkd_ext.ExactResumeHook'))
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', student=_base_.model, input_shape=(3, 128, 128),
    teacher=dict(
        config='mmkd_ext::demo/det_digits_teacher.py',
        checkpoint=_base_.demo_root + '/teachers/det_digits_teacher.pth',
        hint='Train it first: python -m mmkd_ext train det_digits_teacher.py'),
    inherit=['neck', 'bbox_head'],
    losses=dict(mgd=dict(type='MGDLoss', tap='neck.fpn_convs.{0-2}', mask='pixel', mask_ratio=0.65, loss_weight=1e-4)))
