# The student alone: PSPNet on a dilated ResNet-18 of width 8 (an eighth of the usual 64).
_base_ = [
    'mmseg::_base_/default_runtime.py',
    '../_base_/datasets/seg_camvid.py',
    '../_base_/schedules/seg_camvid.py',
]
custom_imports = dict(imports=['mmkd_ext'], allow_failed_imports=False)
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type='ResNetV1c', depth=18, stem_channels=16, base_channels=8, num_stages=4,
        out_indices=(0, 1, 2, 3), dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg, norm_eval=False, zero_init_residual=False, style='pytorch',
        contract_dilation=True),
    decode_head=dict(
        type='PSPHead', in_channels=64, in_index=3, channels=32, pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1, num_classes=11, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=dict(
        type='FCNHead', in_channels=32, in_index=2, channels=16, num_convs=1, concat_input=False,
        dropout_ratio=0.1, num_classes=11, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
log_processor = dict(by_epoch=True)
env_cfg = dict(cudnn_benchmark=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=15),
    checkpoint=dict(type='CheckpointHook', interval=4, max_keep_ckpts=1),
    visualization=dict(type='SegVisualizationHook'))
