# Eight sequences of DAVIS 2016's val list, one object each, seen at a quarter of their size: the first
# five of the list to train on, the last three to test. There is nothing held out to choose settings by.
data_root = 'data/DAVIS'
dataset_type = 'mmkd_ext.DAVISDataset'
data_preprocessor = dict(
    type='mmkd_ext.VOSDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375])
image_size = (128, 224)

train_pipeline = [
    dict(type='mmkd_ext.SampleClip', num_frames=3, max_skip=10),
    dict(type='mmkd_ext.LoadClip'),
    dict(type='mmkd_ext.ClipRandomFlip', prob=0.5),
    dict(
        type='mmkd_ext.ClipRandomResizedCrop', size=image_size, scale=(0.36, 1.0),
        ratio=(1.4, 2.2)),
    dict(type='mmkd_ext.ClipColorJitter', brightness=0.2, contrast=0.2, saturation=0.2),
    dict(type='mmkd_ext.FrameRandomAffine', degrees=10, shear=5),
    dict(type='mmkd_ext.SelectObjects', max_objects=1),
    dict(type='mmkd_ext.PackClip'),
]
test_pipeline = [dict(type='mmkd_ext.LoadFrame'), dict(type='mmkd_ext.PackFrame')]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        year=2016,
        split='val',
        indices=[0, 1, 2, 3, 4],
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(type='mmkd_ext.VideoFrameSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        year=2016,
        split='val',
        indices=[5, 6, 7],
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='mmkd_ext.DAVISMetric')
test_evaluator = val_evaluator
