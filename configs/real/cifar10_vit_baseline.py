# The student alone: a ViT of width 64 on 4x4 patches, 64 tokens and the class token.
_base_ = [
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/datasets/cls_cifar10_folder.py',
    '../_base_/schedules/cls_cifar10_vit.py',
]
custom_imports = dict(imports=['mmkd_ext'], allow_failed_imports=False)
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer', img_size=32, patch_size=4,
        arch=dict(embed_dims=64, num_layers=6, num_heads=2, feedforward_channels=128)),
    head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=64,
              loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')),
    init_cfg=[dict(type='TruncNormal', layer='Linear', std=.02),
              dict(type='Constant', layer='LayerNorm', val=1., bias=0.)])
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=1))
