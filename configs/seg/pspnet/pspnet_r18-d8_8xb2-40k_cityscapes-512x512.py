# PSPNet-R18-d8 on 512 x 512 crops: 40k iterations, 8 GPUs x 2 images. mmseg has it for 512 x 1024, 80k.
_base_ = [
    "mmseg::_base_/models/pspnet_r50-d8.py",
    "../_base_/cityscapes_512x512.py",
    "mmseg::_base_/default_runtime.py",
    "mmseg::_base_/schedules/schedule_40k.py",
]
data_preprocessor = dict(size=(512, 512))
model = dict(
    data_preprocessor=data_preprocessor,
    pretrained="open-mmlab://resnet18_v1c",
    backbone=dict(depth=18),
    decode_head=dict(in_channels=512, channels=128),
    auxiliary_head=dict(in_channels=256, channels=64),
)
