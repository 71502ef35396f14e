# tf-NKD, PSPNet-R18, no teacher. Schedule: the student's own, 40k, 8 x 2. No published figure.
_base_ = "../pspnet/pspnet_r18-d8_8xb2-40k_cityscapes-512x512.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # Each pixel that has a label is a sample. The mean in the loss's weights is over those of one
    # process. The loss has no hyper-parameter.
    losses=dict(tf_nkd=dict(type="TFNKDLoss", tap="decode_head.conv_seg")),
)
