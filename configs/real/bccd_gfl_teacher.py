# The teacher: four times as wide in the backbone; neck and head of the student's size.
_base_ = './bccd_gfl_baseline.py'
model = dict(
    backbone=dict(stem_channels=32, base_channels=32), neck=dict(in_channels=[32, 64, 128, 256]))
