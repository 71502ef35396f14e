# A teacher that mmdet has no config of: its SOLO-R50, 36 epochs at several scales, with 101 layers.
_base_ = "mmdet::solo/solo_r50_fpn_3x_coco.py"
model = dict(
    backbone=dict(depth=101, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101"))
)
