# As the authors' released config: the teacher was trained at several scales, for three times as long.
_base_ = "./mgd_retinanet-r50_retinanet-x101-64x4d_2x_coco.py"
model = dict(
    teacher=dict(
        config="mmdet::retinanet/retinanet_x101-64x4d_fpn_ms-640-800-3x_coco.py",
        checkpoint="https://mmassets.onedl.ai/mmdetection/v2.0/retinanet/retinanet_x101_64x4d_fpn_mstrain_3x_coco/retinanet_x101_64x4d_fpn_mstrain_3x_coco_20210719_051838-022c2187.pth",
    ),
)
