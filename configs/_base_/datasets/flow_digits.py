# The digit world as image pairs with exact flow, in FlyingChairs' form: made on first use, found whatever
# the working directory. (`__import__` because a config with an import statement is read as another kind.)
demo_data = __import__('mmkd_ext.demo_data', fromlist=['ensure'])
data_root = demo_data.ensure('flow_digits')
demo_root = str(demo_data.data_root())

dataset_type = 'mmkd_ext.FlyingChairsDataset'
data_preprocessor = dict(type='mmkd_ext.FlowDataPreprocessor')

# FlyingChairs' augmentations, milder: images are 192x256, and training is short.
train_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations'),
    dict(
        type='mmkd_ext.FlowColorJitter',
        brightness=0.2, contrast=0.2, saturation=0.2, hue=0.08, asymmetric_prob=0.1),
    dict(type='mmkd_ext.FlowErase', prob=0.3, sizes=(15, 40), max_boxes=1),
    dict(
        type='mmkd_ext.FlowResizeCrop',
        crop_size=(160, 208), scale_range=(-0.2, 0.3), spatial_prob=0.5, max_stretch=0.1),
    dict(type='mmkd_ext.FlowRandomFlip', horizontal_prob=0.5, vertical_prob=0.1),
    dict(type='mmkd_ext.PackFlowInputs'),
]
test_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations'),
    dict(type='mmkd_ext.PackFlowInputs'),
]

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
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=test_pipeline))
# Settings are chosen on `val`; the test pairs, in a folder of their own, are only reported.
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        val_dataloader['dataset'], data_root=data_root + '/test', split='trainval'))

val_evaluator = [dict(type='mmkd_ext.EndPointError'), dict(type='mmkd_ext.FlowOutliers')]
test_evaluator = val_evaluator
