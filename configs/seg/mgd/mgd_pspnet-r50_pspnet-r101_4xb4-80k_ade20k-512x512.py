# MGD, PSPNet-R101 to PSPNet-R50. Schedule: the student's own, 80k, 4 x 4. No published figure.
_base_ = "mmseg::pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
auto_scale_lr = dict(enable=False, base_batch_size=16)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmseg::pspnet/pspnet_r101-d8_4xb4-160k_ade20k-512x512.py",
        checkpoint="https://mmassets.onedl.ai/mmsegmentation/v0.5/pspnet/pspnet_r101-d8_512x512_160k_ade20k/pspnet_r101-d8_512x512_160k_ade20k_20200615_100650-967c316f.pth",
    ),
    losses=dict(
        mgd=dict(type="MGDLoss", tap="backbone.layer4",
                 mask="pixel", mask_ratio=0.75, loss_weight=2e-5)),
)
