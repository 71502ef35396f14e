# KITTI-2015, all 200 pairs as published; so what is measured on them in validation is a training figure.
# data/KITTI-2015/{training,testing}/{image_2,flow_occ,flow_noc}
dataset_type = 'mmkd_ext.KITTI2015Dataset'
data_root = 'data/KITTI-2015'
train_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations'),
    dict(
        type='mmkd_ext.FlowColorJitter',
        brightness=0.3, contrast=0.3, saturation=0.3, hue=0.3 / 3.14, asymmetric_prob=0.0),
    dict(type='mmkd_ext.FlowErase'),
    dict(type='mmkd_ext.FlowResizeCrop', crop_size=(288, 960), scale_range=(-0.2, 0.4)),
    dict(type='mmkd_ext.PackFlowInputs'),
]
test_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations'),
    dict(type='mmkd_ext.PackFlowInputs'),
]
train_dataloader = dict(
    batch_size=6,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='mmkd_ext.EndPointError', average='image'),  # the published convention on KITTI
    dict(type='mmkd_ext.FlowOutliers', average='pixel'),
]
test_evaluator = val_evaluator
# For --auto-scale-lr, where the pairs of a step are others than the published 6.
auto_scale_lr = dict(enable=False, base_batch_size=6)
