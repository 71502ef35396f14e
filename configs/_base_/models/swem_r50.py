# The published network: 58,563,524 parameters. Both trunks begin with ImageNet weights.
model = dict(
    type='mmkd_ext.SWEM',
    key_encoder=dict(
        type='ResNetTrunk', depth=50,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    value_trunk=dict(
        depth=18, conv_bias=True,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    memory=dict(type='SWEMMemory', num_bases=128, iters=4, tau=0.05, topl=64),
    key_channels=128,
    value_channels=512,
    decoder_channels=256,
    loss_ce=dict(type='BootstrappedCELoss', start=20000, end=70000, final=0.3),
    loss_iou=dict(type='SoftIoULoss'),
    test_cfg=dict(size=(480, 864)))  # on DAVIS, whatever the aspect of the video
