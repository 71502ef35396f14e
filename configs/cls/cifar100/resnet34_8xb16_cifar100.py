# ResNet-34 of mmpretrain's CIFAR family, on its CIFAR-100 schedule: 200 epochs, 8 x 16, rate / 5 at 60,
# 120 and 160 epochs, weight decay 5e-4.
_base_ = "mmpretrain::resnet/resnet50_8xb16_cifar100.py"
model = dict(backbone=dict(depth=34), head=dict(in_channels=512))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
