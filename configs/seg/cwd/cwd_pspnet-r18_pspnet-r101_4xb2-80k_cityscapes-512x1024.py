# CWD on the logits, PSPNet-R101 to PSPNet-R18, as in mmrazor. Schedule: the student's own, 80k, 4 x 2.
_base_ = "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
auto_scale_lr = dict(enable=False, base_batch_size=8)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmseg::pspnet/pspnet_r101-d8_4xb2-80k_cityscapes-512x1024.py",
        checkpoint="https://mmassets.onedl.ai/mmsegmentation/v0.5/pspnet/pspnet_r101-d8_512x1024_80k_cityscapes/pspnet_r101-d8_512x1024_80k_cityscapes_20200606_112211-e1e1100f.pth",
    ),
    losses=dict(
        # Logits at an eighth of the image, before they are enlarged. The student's dropout is on.
        cwd=dict(type="CWDLoss", tap="decode_head.conv_seg", temperature=1.0, loss_weight=5.0)),
)
