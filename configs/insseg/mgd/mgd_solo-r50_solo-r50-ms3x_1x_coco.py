# The nearest teacher that OpenMMLab publishes weights of: the student's network, trained for longer.
_base_ = "./mgd_solo-r50_solo-r101-ms3x_1x_coco.py"
model = dict(
    teacher=dict(
        config="mmdet::solo/solo_r50_fpn_3x_coco.py",
        checkpoint="https://mmassets.onedl.ai/mmdetection/v2.0/solo/solo_r50_fpn_3x_coco/solo_r50_fpn_3x_coco_20210901_012353-11d224d7.pth",
        hint=None,
    ),
)
