# The student alone: GFL on a ResNet-18 of width 8 (an eighth of the usual 64), a pyramid of three
# levels, 64 channels wide. From scratch, so batch norm learns from the first stage on.
_base_ = [
    'mmdet::_base_/default_runtime.py',
    '../_base_/datasets/det_bccd.py',
    '../_base_/schedules/det_bccd.py',
]
custom_imports = dict(imports=['mmkd_ext'], allow_failed_imports=False)
model = dict(
    type='GFL',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type='ResNet', depth=18, stem_channels=8, base_channels=8, frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=True), norm_eval=False, zero_init_residual=False,
        style='pytorch'),
    neck=dict(
        type='FPN', in_channels=[8, 16, 32, 64], out_channels=64, start_level=1, num_outs=3),
    bbox_head=dict(
        type='GFLHead', num_classes=3, in_channels=64, feat_channels=64, stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=16, requires_grad=True),
        anchor_generator=dict(  # 32, 64, 128 pixels: platelets, red cells, white cells
            type='AnchorGenerator', ratios=[1.0], octave_base_scale=4, scales_per_octave=1,
            strides=[8, 16, 32]),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
        reg_max=16,
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0)),
    train_cfg=dict(
        assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(
        nms_pre=300, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=4, max_keep_ckpts=1))
