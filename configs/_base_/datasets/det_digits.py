# The digit world in COCO form, boxes only: made on first use, found whatever the working directory.
# (`__import__` because a config with an import statement is read as another kind of config.)
demo_data = __import__('mmkd_ext.demo_data', fromlist=['ensure'])
data_root = demo_data.ensure('det_digits')
demo_root = str(demo_data.data_root())

dataset_type = 'CocoDataset'
metainfo = dict(
    classes=tuple('0123456789'),
    palette=[(230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48),
             (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (170, 110, 40)])
image_size = (128, 128)
# A model config names it (`data_preprocessor=_base_.data_preprocessor`), as mmdet's inference reads
# the model alone.
data_preprocessor = dict(
    type='DetDataPreprocessor',
    mean=[68.0, 68.0, 68.0],
    std=[46.0, 46.0, 46.0],
    bgr_to_rgb=True,
    pad_mask=True,
    pad_size_divisor=32)

# No flips: a mirrored digit is none.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='PackDetInputs'),
]
# It changes no size, but notes the scale factor that mmdet's heads divide by.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
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
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/'),
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=False),  # one image in twelve shows no digit: learn that
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
        ann_file='annotations/val.json',
        data_prefix=dict(img='val/'),
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline))
# Loss weights are chosen on `val`; `test` is only reported.
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        val_dataloader['dataset'],
        ann_file='annotations/test.json',
        data_prefix=dict(img='test/')))

val_evaluator = dict(
    type='CocoMetric', ann_file=data_root + '/annotations/val.json', metric='bbox')
test_evaluator = dict(
    type='CocoMetric', ann_file=data_root + '/annotations/test.json', metric='bbox')
