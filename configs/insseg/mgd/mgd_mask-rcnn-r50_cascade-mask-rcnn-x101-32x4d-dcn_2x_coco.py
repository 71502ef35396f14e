# MGD, Cascade Mask R-CNN X101-32x4d DCN to Mask R-CNN R50. The student's schedule: 24 epochs, 8 x 2.
_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # Another kind of head, which the student inherits nothing from.
    teacher=dict(
        config="mmdet::dcn/cascade-mask-rcnn_x101-32x4d-dconv-c3-c5_fpn_1x_coco.py",
        checkpoint="https://mmassets.onedl.ai/mmdetection/v2.0/dcn/cascade_mask_rcnn_x101_32x4d_fpn_dconv_c3-c5_1x_coco/cascade_mask_rcnn_x101_32x4d_fpn_dconv_c3-c5_1x_coco-e75f90c8.pth",
    ),
    losses=dict(
        # P2 to P5, each with its own generator; P6 is a max-pool of P5. The loss is a sum over cells,
        # and P2 has four times as many as P3: the published weight is 40 times smaller than there.
        mgd=dict(type="MGDLoss", tap="neck.fpn_convs.{0-3}.conv",
                 mask="pixel", mask_ratio=0.45, loss_weight=5e-7)),
)
