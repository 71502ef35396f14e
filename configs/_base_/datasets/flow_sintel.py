# The mix for Sintel: 100 x both passes of Sintel, 200 x KITTI-2015, 5 x HD1K and FlyingThings3D's clean pass.
# Validation, and with it save_best, is on the same pairs of Sintel: a training figure, as published.
_base_ = './flow_things.py'
crop_size = (368, 768)
dense_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations', max_component=1000),
    dict(type='mmkd_ext.FlowColorJitter'),
    dict(type='mmkd_ext.FlowErase'),
    dict(type='mmkd_ext.FlowResizeCrop', crop_size=crop_size, scale_range=(-0.2, 0.6)),
    dict(type='mmkd_ext.FlowRandomFlip'),
    dict(type='mmkd_ext.PackFlowInputs'),
]
# Sparse ground truth: weaker colours, alike in both images; no stretch, no vertical flip.
kitti_pipeline = [
    dict(type='mmkd_ext.LoadFlowPair'),
    dict(type='mmkd_ext.LoadFlowAnnotations'),
    dict(
        type='mmkd_ext.FlowColorJitter',
        brightness=0.3, contrast=0.3, saturation=0.3, hue=0.3 / 3.14, asymmetric_prob=0.0),
    dict(type='mmkd_ext.FlowErase'),
    dict(type='mmkd_ext.FlowResizeCrop', crop_size=crop_size, scale_range=(-0.3, 0.5)),
    dict(type='mmkd_ext.FlowRandomFlip', vertical_prob=0.0),
    dict(type='mmkd_ext.PackFlowInputs'),
]
hd1k_pipeline = [
    dict(step, scale_range=(-0.5, 0.2)) if 'scale_range' in step else step
    for step in kitti_pipeline
]
sintel = dict(
    type='mmkd_ext.SintelDataset',
    data_root='data/Sintel',
    render_pass='clean',
    pipeline=dense_pipeline)
kitti = dict(
    type='mmkd_ext.KITTI2015Dataset', data_root='data/KITTI-2015', pipeline=kitti_pipeline)
hd1k = dict(type='mmkd_ext.HD1KDataset', data_root='data/HD1K', pipeline=hd1k_pipeline)
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(type='RepeatDataset', times=100, dataset=sintel),
            dict(type='RepeatDataset', times=100, dataset=dict(sintel, render_pass='final')),
            dict(type='RepeatDataset', times=200, dataset=kitti),
            dict(type='RepeatDataset', times=5, dataset=hd1k),
            dict(_base_.things_clean, pipeline=dense_pipeline),
        ]))
