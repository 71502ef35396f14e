# The teacher: the same with a ViT-B. No published figure.
_base_ = "./faster-rcnn_vit-s_fpn_1x_coco.py"
model = dict(
    backbone=dict(
        arch="deit-base",
        init_cfg=dict(
            checkpoint="https://mmassets.onedl.ai/mmclassification/v0/deit/deit-base_pt-16xb64_in1k_20220216-db63c16c.pth",
        ),
    ),
    neck=[
        dict(type="mmseg.Feature2Pyramid", embed_dim=768, norm_cfg=dict(type="GN", num_groups=32)),
        dict(type="FPN", in_channels=[768, 768, 768, 768], out_channels=256, num_outs=5),
    ],
)
