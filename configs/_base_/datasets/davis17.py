# DAVIS 2017 at 480p: 60 videos to train on, 30 to test.
data_root = 'data/DAVIS'
dataset_type = 'mmkd_ext.DAVISDataset'
data_preprocessor = dict(
    type='mmkd_ext.VOSDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375])
crop_size = (384, 384)

# `max_skip` is reached and left again by mmkd_ext.FrameSkipHook.
clip_transforms = [
    dict(type='mmkd_ext.LoadClip'),
    dict(type='mmkd_ext.ClipRandomFlip', prob=0.5),
    dict(type='mmkd_ext.ClipRandomResizedCrop', size=crop_size, scale=(0.36, 1.0)),
    dict(type='mmkd_ext.ClipColorJitter', brightness=0.1, contrast=0.03, saturation=0.03),
    dict(type='mmkd_ext.ClipRandomGrayscale', prob=0.05),
    dict(type='mmkd_ext.FrameRandomAffine', degrees=15, shear=10),
    dict(type='mmkd_ext.FrameColorJitter', brightness=0.01, contrast=0.01, saturation=0.01),
    dict(type='mmkd_ext.FrameTPS', margin=0.25),
    dict(type='mmkd_ext.SelectObjects', max_objects=2),
    dict(type='mmkd_ext.PackClip'),
]
train_pipeline = [dict(type='mmkd_ext.SampleClip', num_frames=3, max_skip=25), *clip_transforms]
test_pipeline = [dict(type='mmkd_ext.LoadFrame'), dict(type='mmkd_ext.PackFrame')]

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        year=2017,
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=False,
    sampler=dict(type='mmkd_ext.VideoFrameSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        year=2017,
        split='val',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='mmkd_ext.DAVISMetric', workers=2)
test_evaluator = val_evaluator
