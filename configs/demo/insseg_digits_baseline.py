# The student alone: Mask R-CNN on a ResNet-18 of width 8 (1/8 of the usual 64), 128x128 images.
_base_ = [
    'mmdet::_base_/default_runtime.py',
    '../_base_/datasets/insseg_digits.py',
    '../_base_/schedules/dense_digits.py',
]
norm_cfg = dict(type='BN')
model = dict(
    type='MaskRCNN',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type='ResNet', depth=18, stem_channels=8, base_channels=8, norm_cfg=norm_cfg, zero_init_residual=False),
    neck=dict(
        type='FPN', in_channels=[8, 16, 32, 64], out_channels=32, num_outs=4, norm_cfg=norm_cfg),
    rpn_head=dict(
        type='RPNHead', in_channels=32, feat_channels=32,
        anchor_generator=dict(type='AnchorGenerator', scales=[6], ratios=[1.0, 2.0], strides=[4, 8, 16, 32]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', out_channels=32, featmap_strides=[4, 8, 16], finest_scale=28,
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=1)),
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=32, fc_out_channels=128, roi_feat_size=7, num_classes=10,
            bbox_coder=dict(
                type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
            reg_class_agnostic=True,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
        mask_roi_extractor=dict(
            type='SingleRoIExtractor', out_channels=32, featmap_strides=[4, 8, 16], finest_scale=28,
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=1)),
        mask_head=dict(
            type='FCNMaskHead', num_convs=2, in_channels=32, conv_out_channels=32, num_classes=10,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0))),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, ignore_iof_thr=-1),
            sampler=dict(type='RandomSampler', num=64, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=-1, pos_weight=-1, debug=False),
        rpn_proposal=dict(nms_pre=100, max_per_img=50, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, ignore_iof_thr=-1),
            sampler=dict(type='RandomSampler', num=32, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
            mask_size=28, pos_weight=-1, debug=False)),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=50, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=30, mask_thr_binary=0.5)))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=4, max_keep_ckpts=2))  # halfway, and at the end
randomness = dict(seed=0)
