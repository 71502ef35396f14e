# The teacher: three times as wide, backbone and heads.
_base_ = './camvid_pspnet_baseline.py'
model = dict(
    backbone=dict(stem_channels=48, base_channels=24),
    decode_head=dict(in_channels=192, channels=96),
    auxiliary_head=dict(in_channels=96, channels=48))
