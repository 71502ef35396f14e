# CIFAR-100 in its own binary form, which mmpretrain's dataset downloads; one GPU with 64 images.
_base_ = "mmpretrain::_base_/datasets/cifar100_bs16.py"
train_dataloader = dict(batch_size=64)
val_dataloader = dict(batch_size=64)
test_dataloader = dict(batch_size=64)
