# The student of vos_digits_baseline.py, taught by the teacher of vos_digits_teacher.py. Both memorise the
# student's masks, so that their features compare and the student learns to live with its errors.
_base_ = './vos_digits_baseline.py'
default_hooks = dict(
    checkpoint=dict(type='mmkd_ext.CheckpointHook'),
    exact_resume=dict(type='mmkd_ext.ExactResumeHook'))
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', input_shape=(3, 64, 64),
    student=_base_.model,
    teacher=dict(
        config='mmkd_ext::demo/vos_digits_teacher.py',
        checkpoint=_base_.demo_root + '/teachers/vos_digits_teacher.pth',
        student_inputs='memorized(input)',
        hint='Train it first: python -m mmkd_ext train vos_digits_teacher.py'),
    losses=dict(
        f16=dict(type='MGDLoss', tap='key_encoder[2]', mask='pixel', mask_ratio=0.75, loss_weight=2e-5),
        context=dict(type='MGDLoss', tap='fusion', mask='pixel', mask_ratio=0.75, loss_weight=2e-5),
        stride4=dict(type='MGDLoss', tap='decoder.up_8_4', mask='pixel', mask_ratio=0.75, loss_weight=2e-7),
        kd=dict(type='KDLoss', tap='aggregation', temperature=2.0, alpha=0.5)))
