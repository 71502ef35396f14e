# RAFT teaches RAFT-small on FlyingThings3D: both encoders' features (MGD), and its flow as a label.
_base_ = '../raft/raft-small_things_100k.py'
default_hooks = dict(
    checkpoint=dict(type='mmkd_ext.CheckpointHook'),
    exact_resume=dict(type='mmkd_ext.ExactResumeHook'))
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', input_shape=(2, 3, 128, 128),
    student=_base_.model,
    teacher=dict(
        config='mmkd_ext::flow/raft/raft_things_100k.py',
        # Published weights of this stage, ported by torchvision from the authors'.
        checkpoint='https://download.pytorch.org/models/raft_large_C_T_V1-22a6c225.pth'),
    losses=dict(
        features=dict(type='MGDLoss', tap='feature_encoder.layer3', loss_weight=1e-6),
        context=dict(type='MGDLoss', tap='context_encoder.layer3', loss_weight=1e-6),
        label=dict(type='FlowPseudoLabelLoss', tap='predictions', loss_weight=1.0)))
