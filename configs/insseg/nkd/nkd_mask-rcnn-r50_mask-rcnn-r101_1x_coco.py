# NKD on the class logits of the second stage, Mask R-CNN R101 to R50. No published number.
# Schedule: the student's own, 12 epochs, 8 x 2.
_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmdet::mask_rcnn/mask-rcnn_r101_fpn_2x_coco.py",
        checkpoint="https://mmassets.onedl.ai/mmdetection/v2.0/mask_rcnn/mask_rcnn_r101_fpn_2x_coco/mask_rcnn_r101_fpn_2x_coco_bbox_mAP-0.408__segm_mAP-0.366_20200505_071027-14b391c7.pth",
        # Its second stage judges the regions that the student's sampler drew: row i is one region.
        student_inputs="roi_head.bbox_roi_extractor(rois)",
    ),
    losses=dict(
        # The label of a region is the one it has in the student's own loss; background is a class.
        nkd=dict(type="NKDLoss", temperature=1.0, gamma=1.5,
                 tap=dict(student=dict(logits="roi_head.bbox_head.fc_cls", target="roi_head.bbox_head.loss_cls(label)"),
                          teacher="roi_head.bbox_head.fc_cls"))),
)
