# FlyingThings3D, clean and final pass, forwards and backwards; tested on Sintel's training set, which the
# network has not seen. data/FlyingThings3D/{frames_cleanpass,frames_finalpass,optical_flow}, data/Sintel.
train_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations', max_component=1000),
    dict(type='mmkd_ext.FlowColorJitter'),
    dict(type='mmkd_ext.FlowErase'),
    dict(type='mmkd_ext.FlowResizeCrop', crop_size=(400, 720), scale_range=(-0.4, 0.8)),
    dict(type='mmkd_ext.FlowRandomFlip'),
    dict(type='mmkd_ext.PackFlowInputs'),
]
test_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations'),
    dict(type='mmkd_ext.PackFlowInputs'),
]
things_clean = dict(
    type='mmkd_ext.FlyingThings3DDataset',
    data_root='data/FlyingThings3D',
    render_pass='clean',
    pipeline=train_pipeline)
sintel_clean = dict(
    type='mmkd_ext.SintelDataset',
    data_root='data/Sintel',
    render_pass='clean',
    test_mode=True,
    pipeline=test_pipeline)
train_dataloader = dict(
    batch_size=6,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ConcatDataset',
        datasets=[things_clean, dict(things_clean, render_pass='final')]))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ConcatDataset',
        datasets=[sintel_clean, dict(sintel_clean, render_pass='final')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmkd_ext.EndPointError')
test_evaluator = val_evaluator
# For --auto-scale-lr, where the pairs of a step are others than the published 6.
auto_scale_lr = dict(enable=False, base_batch_size=6)
