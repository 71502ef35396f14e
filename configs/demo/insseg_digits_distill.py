# The student of insseg_digits_baseline.py, taught by the teacher of insseg_digits_teacher.py.
_base_ = './insseg_digits_baseline.py'
custom_imports = dict(imports=['mmkd_ext'], allow_failed_imports=False)
default_hooks = dict(
    checkpoint=dict(type='mmkd_ext.CheckpointHook'),
    exact_resume=dict(type='mmkd_ext.ExactResumeHook'))
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', student=_base_.model, input_shape=(3, 128, 128),
    teacher=dict(
        config='mmkd_ext::demo/insseg_digits_teacher.py',
        checkpoint=_base_.demo_root + '/teachers/insseg_digits_teacher.pth',
        hint='Train it first: python -m mmkd_ext train insseg_digits_teacher.py'),
    inherit=['neck', 'rpn_head', 'roi_head'],
    losses=dict(mgd=dict(type='MGDLoss', tap='neck.fpn_convs.{0-3}', mask='pixel', mask_ratio=0.45, loss_weight=1e-5)))
