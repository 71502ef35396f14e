# RAFT, the large network: 5,257,536 parameters.
model = dict(
    type='mmkd_ext.RAFT',
    feature_encoder=dict(type='RAFTEncoder', layers=(64, 64, 96, 128, 256), norm='instance'),
    context_encoder=dict(type='RAFTEncoder', layers=(64, 64, 96, 128, 256), norm='batch'),
    correlation=dict(type='Correlation', levels=4, radius=4),
    hidden_channels=128,
    motion_encoder=dict(corr_layers=(256, 192), flow_layers=(128, 64), out_channels=128),
    recurrent_kernels=((1, 5), (5, 1)),
    flow_head_channels=256,
    upsampler=dict(type='ConvexUpsampler', hidden_channels=256),
    loss=dict(type='SequenceLoss', gamma=0.8, max_flow=400.0),
    iters=12,
    test_cfg=dict(iters=24),
    data_preprocessor=dict(type='FlowDataPreprocessor'))
