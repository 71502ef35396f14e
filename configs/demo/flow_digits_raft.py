# RAFT on moving digits, trained from scratch; the teacher is this, and the student is narrower.
# Against the published network: a quarter of the channels, or less, 3 levels, radius 3, 6 iterations.
_base_ = [
    '../_base_/mmkd_runtime.py',
    '../_base_/datasets/flow_digits.py',
    '../_base_/schedules/flow_digits.py',
]
model = dict(
    type='mmkd_ext.RAFT',
    feature_encoder=dict(type='RAFTEncoder', layers=(16, 16, 24, 32, 48), norm='instance'),
    context_encoder=dict(type='RAFTEncoder', layers=(16, 16, 24, 32, 64), norm='batch'),
    correlation=dict(type='Correlation', levels=3, radius=3),
    hidden_channels=32,
    motion_encoder=dict(corr_layers=(48, 40), flow_layers=(24, 16), out_channels=40),
    flow_head_channels=48,
    upsampler=dict(type='ConvexUpsampler', hidden_channels=48),
    loss=dict(type='SequenceLoss', gamma=0.8),
    iters=6,
    test_cfg=dict(iters=8))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20),
    checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=18, max_keep_ckpts=2))
randomness = dict(seed=0)
