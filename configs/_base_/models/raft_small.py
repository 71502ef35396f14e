# RAFT, the small network: 990,162 parameters.
model = dict(
    type='mmkd_ext.RAFT',
    feature_encoder=dict(
        type='RAFTEncoder', layers=(32, 32, 64, 96, 128), block='bottleneck', norm='instance'),
    context_encoder=dict(
        type='RAFTEncoder', layers=(32, 32, 64, 96, 160), block='bottleneck', norm='none'),
    correlation=dict(type='Correlation', levels=4, radius=3),
    hidden_channels=96,
    motion_encoder=dict(corr_layers=(96,), flow_layers=(64, 32), out_channels=82),
    recurrent_kernels=((3, 3),),
    flow_head_channels=128,
    upsampler=dict(type='BilinearUpsampler'),
    loss=dict(type='SequenceLoss', gamma=0.8, max_flow=400.0),
    iters=12,
    test_cfg=dict(iters=24),
    data_preprocessor=dict(type='FlowDataPreprocessor'))
