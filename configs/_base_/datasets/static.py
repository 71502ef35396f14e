# Pre-training on still images (stage S0): clips of two objects, made by pasting; tested on DAVIS 2017.
#   data/static/JPEGImages/<set>/**/<name>.jpg, data/static/Annotations/<set>/**/<name>.png
_base_ = './davis17.py'
static_root = 'data/static'
train_pipeline = [
    dict(type='mmkd_ext.SynthesizeClip', num_frames=3),
    dict(type='mmkd_ext.ClipRandomAffine', scale=(0.8, 1.5)),
    dict(type='mmkd_ext.ClipRandomFlip', prob=0.5),
    dict(type='mmkd_ext.ClipColorJitter', brightness=0.1, contrast=0.05, saturation=0.05, hue=0.05),
    dict(type='mmkd_ext.ClipRandomGrayscale', prob=0.05),
    dict(type='mmkd_ext.FrameRandomAffine', degrees=20, scale=(0.9, 1.1), shear=10),
    dict(type='mmkd_ext.ClipResizeShort', size=384),
    dict(type='mmkd_ext.FrameRandomCrop', size=(384, 384)),
    dict(type='mmkd_ext.FrameColorJitter', brightness=0.1, contrast=0.05, saturation=0.05),
    dict(type='mmkd_ext.FrameTPS', margin=0.3),
    dict(type='mmkd_ext.SelectObjects', max_objects=2),
    dict(type='mmkd_ext.PackClip'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmkd_ext.StaticVOSDataset',
        data_root=static_root,
        sets=dict(BIG_small=5, HRSOD_small=5, FSS=1, ECSSD=1, DUTS=1),
        num_objects=2,
        pipeline=train_pipeline))
