# tf-NKD on the class logits of the second stage, Mask R-CNN R50, no teacher. No published number.
# Schedule: the student's own, 12 epochs, 8 x 2.
_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    losses=dict(
        # The label of a region is the one it has in the student's own loss; background is a class.
        # The mean in the loss's weights is over the regions of one process.
        tf_nkd=dict(
            type="TFNKDLoss",
            tap=dict(logits="roi_head.bbox_head.fc_cls", target="roi_head.bbox_head.loss_cls(label)"))),
)
