# A super-network on moving digits: flow_digits_raft.py, whose encoders run as any of 8,388,608 genotypes.
# Every step trains the largest, the smallest and one random network, on smaller crops and with fewer
# iterations.
_base_ = './flow_digits_raft.py'
model = dict(
    _delete_=True,
    type='mmkd_ext.FlowNASSupernet',
    space=dict(
        widths=((8, 16), (16, 24), (24, 32), (24, 32), (32, 40), (32, 48)),
        kernel_sizes=((3, 5),) * 6,
        depths=((1, 2),) * 6,
        expand_ratios=((1,), (1, 2), (2, 3), (2, 3), (2, 3), (2, 3)),
        stem_width=16,
        feature_dim=48,
        context_dim=64),
    random_subnets=1,
    correlation=dict(type='Correlation', levels=3, radius=3),
    hidden_channels=32,
    motion_encoder=dict(corr_layers=(48, 40), flow_layers=(24, 16), out_channels=40),
    flow_head_channels=48,
    upsampler=dict(type='ConvexUpsampler', hidden_channels=48),
    loss=dict(type='SequenceLoss', gamma=0.8),
    iters=4,
    test_cfg=dict(iters=6))
train_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations'),
    dict(
        type='mmkd_ext.FlowResizeCrop',
        crop_size=(128, 160), scale_range=(-0.2, 0.2), spatial_prob=0.5, max_stretch=0.1),
    dict(type='mmkd_ext.FlowRandomFlip', horizontal_prob=0.5, vertical_prob=0.1),
    dict(type='mmkd_ext.PackFlowInputs'),
]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=1, convert_to_iter_based=True),
    dict(
        type='LinearLR', start_factor=1.0, end_factor=0.01, begin=1, end=6,
        convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=6, val_interval=6)
default_hooks = dict(checkpoint=dict(interval=6))
# Several processes train the same networks in each step.
model_wrapper_cfg = dict(type='mmkd_ext.PassesDataParallel')
