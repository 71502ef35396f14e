# MGD, RepPoints X101-32x4d DCN to R50. Schedule: the student's own, 24 epochs, 8 x 2.
_base_ = "mmdet::reppoints/reppoints-moment_r50_fpn-gn_head-gn_2x_coco.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # The authors' file name says 64x4d; these weights, theirs too, are of a 32x4d.
    teacher=dict(
        config="mmdet::reppoints/reppoints-moment_x101-dconv-c3-c5_fpn-gn_head-gn_2x_coco.py",
        checkpoint="https://mmassets.onedl.ai/mmdetection/v2.0/reppoints/reppoints_moment_x101_fpn_dconv_c3-c5_gn-neck%2Bhead_2x_coco/reppoints_moment_x101_fpn_dconv_c3-c5_gn-neck%2Bhead_2x_coco_20200329-f87da1ea.pth",
    ),
    inherit=["neck", "bbox_head"],  # they begin with the teacher's weights
    losses=dict(
        # P3 to P7, each with its own generator. Detection masks pixels, classification channels.
        # This neck has group norm behind each convolution. The tap is before the norm, as published.
        mgd=dict(type="MGDLoss", tap="neck.fpn_convs.{0-4}.conv",
                 mask="pixel", mask_ratio=0.65, loss_weight=2e-5)),
)
