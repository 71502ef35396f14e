# KD on the logits, PSPNet-R101 to PSPNet-R18. Schedule: the student's own, 40k, 8 x 2. No published
# figure.
_base_ = "../pspnet/pspnet_r18-d8_8xb2-40k_cityscapes-512x512.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # Trained on crops of 512 x 1024; it sees the student's.
    teacher=dict(
        config="mmseg::pspnet/pspnet_r101-d8_4xb2-40k_cityscapes-512x1024.py",
        checkpoint="https://mmassets.onedl.ai/mmsegmentation/v0.5/pspnet/pspnet_r101-d8_512x1024_40k_cityscapes/pspnet_r101-d8_512x1024_40k_cityscapes_20200604_232751-467e7cf4.pth",
    ),
    losses=dict(
        # Logits at an eighth of the image, before they are enlarged: each pixel that has a label is a
        # sample. The student's dropout is on.
        kd=dict(type="KDLoss", tap="decode_head.conv_seg", temperature=1.0, alpha=1.0)),
)
