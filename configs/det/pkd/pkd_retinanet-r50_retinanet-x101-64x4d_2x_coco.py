# PKD, RetinaNet X101-64x4d to R50, as in mmrazor. Schedule: the student's own, 24 epochs, 8 x 2.
_base_ = "mmdet::retinanet/retinanet_r50_fpn_2x_coco.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmdet::retinanet/retinanet_x101-64x4d_fpn_1x_coco.py",
        checkpoint="https://mmassets.onedl.ai/mmdetection/v2.0/retinanet/retinanet_x101_64x4d_fpn_1x_coco/retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth",
    ),
    losses=dict(
        # P3 to P6; mmrazor leaves P7 out.
        pkd=dict(type="PKDLoss", tap="neck.fpn_convs.{0-3}.conv", loss_weight=10.0)),
)
