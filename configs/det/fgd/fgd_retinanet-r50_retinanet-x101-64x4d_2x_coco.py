# FGD, RetinaNet X101-64x4d to R50. Schedule: the student's own, 24 epochs, 8 x 2.
_base_ = "mmdet::retinanet/retinanet_r50_fpn_2x_coco.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmdet::retinanet/retinanet_x101-64x4d_fpn_1x_coco.py",
        checkpoint="https://mmassets.onedl.ai/mmdetection/v2.0/retinanet/retinanet_x101_64x4d_fpn_1x_coco/retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth",
    ),
    inherit=["neck", "bbox_head"],  # they begin with the teacher's weights
    losses=dict(
        # P3 to P7. Foreground is what lies in the boxes of the annotation.
        fgd=dict(type="FGDLoss", tap="neck.fpn_convs.{0-4}.conv",
                 alpha=1e-3, beta=5e-4, gamma=5e-4, lambda_=5e-6, temperature=0.5)),
)
