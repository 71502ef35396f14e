# CWD on the class logits, GFL R101 to R50, as in mmrazor. Schedule: the student's own, 12 epochs, 8 x 2.
_base_ = "mmdet::gfl/gfl_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py",
        checkpoint="https://mmassets.onedl.ai/mmdetection/v2.0/gfl/gfl_r101_fpn_mstrain_2x_coco/gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth",
    ),
    losses=dict(
        # One convolution serves P3 to P7: it fires five times, and the loss is the sum.
        cwd=dict(type="CWDLoss", tap="bbox_head.gfl_cls", temperature=1.0, loss_weight=5.0)),
)
