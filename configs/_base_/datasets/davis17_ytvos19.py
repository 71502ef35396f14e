# Main training: DAVIS 2017, each video five times, with YouTube-VOS 2019; tested on DAVIS 2017.
# YouTube-VOS is read at a short side of 480 (train_480p): see ClipResizeShort to go without.
_base_ = './davis17.py'
ytvos_root = 'data/YouTubeVOS2019'
davis_train = dict(
    type={{_base_.dataset_type}},
    data_root={{_base_.data_root}},
    year=2017,
    split='train',
    pipeline={{_base_.train_pipeline}})
ytvos_train = dict(
    type='mmkd_ext.YouTubeVOSDataset',
    data_root=ytvos_root,
    split='train',
    folder='train_480p',
    pipeline=[
        dict(type='mmkd_ext.SampleClip', num_frames=3, max_skip=5), *_base_.clip_transforms
    ])

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        ignore_keys=['palette'],
        datasets=[dict(type='RepeatDataset', times=5, dataset=davis_train), ytvos_train]))
