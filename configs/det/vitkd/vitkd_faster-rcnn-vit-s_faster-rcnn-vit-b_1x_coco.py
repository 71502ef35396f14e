# ViTKD, Faster R-CNN ViT-B to ViT-S. Schedule: the student's own, 12 epochs, 8 x 2. No published figure.
_base_ = "./faster-rcnn_vit-s_fpn_1x_coco.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # OpenMMLab publishes no such detector.
    teacher=dict(
        config="mmkd_ext::det/vitkd/faster-rcnn_vit-b_fpn_1x_coco.py",
        checkpoint="work_dirs/faster-rcnn_vit-b_fpn_1x_coco/epoch_12.pth",
        hint="Train it first: python -m mmkd_ext train faster-rcnn_vit-b_fpn_1x_coco.py",
    ),
    losses=dict(
        # Tokens after the first two blocks; behind the final norm the backbone's last output, a map,
        # since images differ in size and shape. The loss sums over 50 x 84 patches where the published
        # weights, 3e-5 and 3e-6, are for 14 x 14: a twentieth.
        vitkd=dict(type="ViTKDLoss", tap=["backbone.layers.{0,1}", "backbone[3]"],
                   mimic_weight=1.5e-6, generation_weight=1.5e-7)),
)
