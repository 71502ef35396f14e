# The published smaller network: 36,729,796 parameters, of which the key encoder is a ResNet-18.
_base_ = './swem_r50.py'
model = dict(
    key_encoder=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')))
