# The student alone: GFL on a ResNet-18 of width 8 (1/8 of the usual 64), 128x128 images.
_base_ = [
    'mmdet::_base_/default_runtime.py',
    '../_base_/datasets/det_digits.py',
    '../_base_/schedules/dense_digits.py',
]
norm_cfg = dict(type='BN')
model = dict(
    type='GFL',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type='ResNet', depth=18, stem_channels=8, base_channels=8, norm_cfg=norm_cfg, zero_init_residual=False),
    neck=dict(
        type='FPN', in_channels=[8, 16, 32, 64], out_channels=32, start_level=1, num_outs=3, norm_cfg=norm_cfg),
    bbox_head=dict(
        type='GFLHead', num_classes=10, in_channels=32, feat_channels=32, stacked_convs=2, norm_cfg=norm_cfg,
        anchor_generator=dict(
            type='AnchorGenerator', ratios=[1.0], octave_base_scale=4, scales_per_octave=1, strides=[8, 16, 32]),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
        reg_max=16,
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0)),
    train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(nms_pre=200, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=30))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=4, max_keep_ckpts=2))  # halfway, and at the end
randomness = dict(seed=0)
