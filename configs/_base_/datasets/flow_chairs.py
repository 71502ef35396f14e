# FlyingChairs, split by the file that its authors give: data/FlyingChairs_release/data/*.{ppm,flo} and
# FlyingChairs_train_val.txt beside them.
dataset_type = 'mmkd_ext.FlyingChairsDataset'
data_root = 'data/FlyingChairs_release'
train_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations', max_component=1000),
    dict(type='mmkd_ext.FlowColorJitter'),
    dict(type='mmkd_ext.FlowErase'),
    dict(type='mmkd_ext.FlowResizeCrop', crop_size=(368, 496), scale_range=(-0.1, 1.0)),
    dict(type='mmkd_ext.FlowRandomFlip'),
    dict(type='mmkd_ext.PackFlowInputs'),
]
test_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations'),
    dict(type='mmkd_ext.PackFlowInputs'),
]
train_dataloader = dict(
    batch_size=10,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmkd_ext.EndPointError')
test_evaluator = val_evaluator
# For --auto-scale-lr, where the pairs of a step are others than the published 10.
auto_scale_lr = dict(enable=False, base_batch_size=10)
