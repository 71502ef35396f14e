# The digit world in ADE20K's form: made on first use, found whatever the working directory.
# (`__import__` because a config with an import statement is read as another kind of config.)
demo_data = __import__('mmkd_ext.demo_data', fromlist=['ensure'])
data_root = demo_data.ensure('seg_digits')
demo_root = str(demo_data.data_root())

dataset_type = 'BaseSegDataset'  # ADE20KDataset has its 150 classes built in
metainfo = dict(
    classes=('background', *'0123456789'),
    palette=[(0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200),
             (245, 130, 48), (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60),
             (170, 110, 40)])
crop_size = (128, 128)  # whole images
# A model config names it (`data_preprocessor=_base_.data_preprocessor`), as mmseg's inference reads
# the model alone.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[68.0, 68.0, 68.0],
    std=[46.0, 46.0, 46.0],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=crop_size)

# No flips: a mirrored digit is none.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=0,  # a batch of 128x128 images loads faster than a process can hand it over
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        img_suffix='.png',
        metainfo=metainfo,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        img_suffix='.png',
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline))
# Loss weights are chosen on `val`; `test` is only reported.
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        val_dataloader['dataset'],
        data_prefix=dict(img_path='images/test', seg_map_path='annotations/test')))

val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
