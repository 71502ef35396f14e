# The digit world in motion, in DAVIS 2017's form: made on first use, found whatever the working
# directory. (`__import__` because a config with an import statement is read as another kind of config.)
demo_data = __import__('mmkd_ext.demo_data', fromlist=['ensure'])
data_root = demo_data.ensure('vos_digits')
demo_root = str(demo_data.data_root())

dataset_type = 'mmkd_ext.DAVISDataset'
data_preprocessor = dict(
    type='mmkd_ext.VOSDataPreprocessor', mean=[70.0, 70.0, 70.0], std=[40.0, 40.0, 40.0])

# No crops: frames are 128x128 already. What a digit says does not matter here, so flips are fine.
train_pipeline = [
    dict(type='mmkd_ext.SampleClip', num_frames=3, max_skip=4),
    dict(type='mmkd_ext.LoadClip'),
    dict(type='mmkd_ext.ClipRandomFlip', prob=0.5),
    dict(type='mmkd_ext.FrameRandomAffine', degrees=8, shear=5, image_fill=(70, 70, 70)),
    dict(type='mmkd_ext.SelectObjects', max_objects=2, min_pixels=60),
    dict(type='mmkd_ext.PackClip'),
]
test_pipeline = [dict(type='mmkd_ext.LoadFrame'), dict(type='mmkd_ext.PackFrame')]

train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(type='mmkd_ext.VideoFrameSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='val',
        given='new',  # unlike in DAVIS, objects may enter later
        test_mode=True,
        pipeline=test_pipeline))
# Settings are chosen on `val`; `test` is only reported.
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], split='test'))

val_evaluator = dict(type='mmkd_ext.DAVISMetric')
test_evaluator = val_evaluator
