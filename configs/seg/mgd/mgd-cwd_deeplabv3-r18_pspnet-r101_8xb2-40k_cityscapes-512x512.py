# MGD and CWD on the logits, PSPNet-R101 to DeepLabV3-R18: what the authors' code does by default.
_base_ = "./mgd_deeplabv3-r18_pspnet-r101_8xb2-40k_cityscapes-512x512.py"
# Logits at an eighth of the image, before they are enlarged. The student's dropout is on.
model = dict(losses=dict(
    cwd=dict(type="CWDLoss", tap="decode_head.conv_seg", temperature=4.0, loss_weight=3.0)))
