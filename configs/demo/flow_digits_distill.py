# The student of flow_digits_baseline.py, taught by the teacher of flow_digits_teacher.py: by its features,
# and by its flow, which is a label of the augmented images.
_base_ = './flow_digits_baseline.py'
default_hooks = dict(
    checkpoint=dict(type='mmkd_ext.CheckpointHook'),
    exact_resume=dict(type='mmkd_ext.ExactResumeHook'))
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', input_shape=(2, 3, 64, 64),
    student=_base_.model,
    teacher=dict(
        config='mmkd_ext::demo/flow_digits_teacher.py',
        checkpoint=_base_.demo_root + '/teachers/flow_digits_teacher.pth',
        hint='Train it first: python -m mmkd_ext train flow_digits_teacher.py'),
    losses=dict(
        features=dict(type='MGDLoss', tap='feature_encoder.layer3', loss_weight=2e-5),
        context=dict(type='MGDLoss', tap='context_encoder.layer3', loss_weight=2e-5),
        label=dict(type='FlowPseudoLabelLoss', tap='predictions', loss_weight=1.0)))
