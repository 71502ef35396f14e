# BCCD (blood cells) in COCO form: annotations/{train,test}.json, train/, test/; 292 and 72 images.
# There is no validation split: the last 44 training images, by the order in the file, are held out
# for it. Neighbours may show the same smear, so a block is held out and not every seventh image.
# Loss weights are chosen on them, `test` is only reported.
data_root = 'data/bccd'
metainfo = dict(
    classes=('RBC', 'WBC', 'Platelets'),
    palette=[(220, 20, 60), (70, 70, 220), (250, 170, 30)])
image_size = (320, 240)  # (width, height): half of the original
# A model config names it (`data_preprocessor=_base_.data_preprocessor`), as mmdet's inference reads
# the model alone.
data_preprocessor = dict(
    type='DetDataPreprocessor',
    mean=[188.0, 177.5, 182.4],  # RGB, of the training images
    std=[15.5, 26.0, 19.2],
    bgr_to_rgb=True,
    pad_size_divisor=32)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    # A smear has no upside.
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        # With the instances, an evaluator without annotation file scores just the images it sees.
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/'),
        indices=248,  # the first
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/'),
        indices=list(range(248, 292)),  # the last; an error where there are fewer images
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/test.json',
        data_prefix=dict(img='test/'),
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline))

val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = dict(
    type='CocoMetric', ann_file=data_root + '/annotations/test.json', metric='bbox')
