# MGD, SOLO R101 to R50. Schedule: the student's own, 12 epochs, 8 x 2.
_base_ = "mmdet::solo/solo_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # OpenMMLab publishes no weights of it; the README says where others are.
    teacher=dict(
        config="mmkd_ext::insseg/mgd/solo_r101_fpn_3x_coco.py",
        checkpoint="work_dirs/solo_r101_fpn_3x_coco/epoch_36.pth",
        hint="Train it first: python -m mmkd_ext train solo_r101_fpn_3x_coco.py",
    ),
    inherit=["neck", "mask_head"],  # they begin with the teacher's weights
    # P2 to P5, each with its own generator; P6 is a max-pool of P5.
    losses=dict(mgd=dict(type="MGDLoss", tap="neck.fpn_convs.{0-3}.conv",
                         mask="pixel", mask_ratio=0.65, loss_weight=2e-5)),
)
