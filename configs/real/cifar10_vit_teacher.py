# The teacher: twice as wide as the student.
_base_ = './cifar10_vit_baseline.py'
model = dict(
    backbone=dict(arch=dict(embed_dims=128, num_heads=4, feedforward_channels=256)),
    head=dict(in_channels=128))
