# PKD, FCOS X101-64x4d to RetinaNet R50, as in mmrazor. Schedule: the student's own, 12 epochs, 8 x 2.
_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmdet::fcos/fcos_x101-64x4d_fpn_gn-head_ms-640-800-2x_coco.py",
        checkpoint="https://mmassets.onedl.ai/mmdetection/v2.0/fcos/fcos_x101_64x4d_fpn_gn-head_mstrain_640-800_2x_coco/fcos_x101_64x4d_fpn_gn-head_mstrain_640-800_2x_coco-ede514a8.pth",
    ),
    losses=dict(
        # P3 to P6; mmrazor leaves P7 out. P6 comes from P5 in the teacher, from C5 in the student.
        pkd=dict(type="PKDLoss", tap="neck.fpn_convs.{0-3}.conv", loss_weight=10.0)),
)
