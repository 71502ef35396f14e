# The student alone: semantic FPN on a ResNet-18 of width 12 (the usual is 64), 128x128 images.
_base_ = [
    'mmseg::_base_/default_runtime.py',
    '../_base_/datasets/seg_digits.py',
    '../_base_/schedules/dense_digits.py',
]
norm_cfg = dict(type='BN')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(type='ResNet', depth=18, stem_channels=12, base_channels=12, norm_cfg=norm_cfg, zero_init_residual=False),
    neck=dict(type='FPN', in_channels=[12, 24, 48, 96], out_channels=24, num_outs=4, norm_cfg=norm_cfg),
    decode_head=dict(
        type='FPNHead', in_channels=[24, 24, 24, 24], in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32],
        channels=24, dropout_ratio=0.0, num_classes=11, norm_cfg=norm_cfg, align_corners=False,
        # Nine pixels in ten are background: without the balance the digits stay all alike for long.
        loss_decode=[
            dict(type='CrossEntropyLoss', class_weight=[0.2] + [1.0] * 10),
            dict(type='DiceLoss', ignore_index=255),
        ]),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
log_processor = dict(by_epoch=True)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=4, max_keep_ckpts=2),  # halfway, and at the end
    visualization=dict(type='SegVisualizationHook'))
randomness = dict(seed=0)
