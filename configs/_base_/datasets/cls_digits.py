# The demo's handwritten digits: made on first use, found whatever the working directory.
# (`__import__` because a config with an import statement is read as another kind of config.)
demo_data = __import__('mmkd_ext.demo_data', fromlist=['ensure'])
data_root = demo_data.ensure('cls_digits')
demo_root = str(demo_data.data_root())

dataset_type = 'CustomDataset'
data_preprocessor = dict(
    num_classes=10, mean=[85.0, 85.0, 85.0], std=[100.0, 100.0, 100.0], to_rgb=True)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=2),  # shifts by up to 2 pixels
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=25,
    num_workers=0,  # a batch of 32x32 images loads faster than a process can hand it over
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix='train',
        ann_file='meta/train_5_per_class.txt',  # the label budget of the students
        metainfo=dict(classes=tuple('0123456789')),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, data_prefix='val', pipeline=test_pipeline))
# Loss weights are chosen on `val`; `test` is only reported.
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader['dataset'], data_prefix='test'))

val_evaluator = dict(type='Accuracy', topk=(1, ))
test_evaluator = val_evaluator
