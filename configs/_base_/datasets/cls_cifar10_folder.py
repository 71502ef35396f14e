# CIFAR-10 as a folder of images: train/<class>/*, test/<class>/*; 5,000 and 1,000 a class.
# The last 500 training images of each class, by name, are held out for validation: loss weights are
# chosen on them, `test` is only reported. A label budget: train_dataloader.dataset.per_class=0,1000
data_root = 'data/cifar10'
classes = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
data_preprocessor = dict(
    num_classes=10,
    mean=[125.307, 122.961, 113.8575],  # RGB, mmpretrain's for CIFAR-10
    std=[51.5865, 50.847, 51.255],
    to_rgb=True)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmkd_ext.FolderSubset',
        data_root=data_root,
        data_prefix='train',
        per_class=(0, 4500),
        metainfo=dict(classes=classes),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=500,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmkd_ext.FolderSubset',
        data_root=data_root,
        data_prefix='train',
        per_class=(4500, 5000),
        metainfo=dict(classes=classes),
        pipeline=test_pipeline))
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        type='mmkd_ext.FolderSubset',
        data_root=data_root,
        data_prefix='test',
        metainfo=dict(classes=classes),
        pipeline=test_pipeline))

val_evaluator = dict(type='Accuracy', topk=(1, ))
test_evaluator = val_evaluator
