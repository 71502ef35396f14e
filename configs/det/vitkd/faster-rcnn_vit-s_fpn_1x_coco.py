# Faster R-CNN on a plain ViT-S, which mmdet has no config of: mmpretrain's backbone with DeiT's
# weights, mmseg's neck that makes a pyramid of it, mmdet's heads and schedule. No published figure.
_base_ = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmpretrain.VisionTransformer",
        arch="deit-small",
        img_size=224,  # of DeiT's training; the position embedding is resized to every batch's size
        patch_size=16,
        drop_path_rate=0.1,
        out_indices=[2, 5, 8, 11],  # all at stride 16
        out_type="featmap",
        init_cfg=dict(
            type="Pretrained",
            checkpoint="https://mmassets.onedl.ai/mmclassification/v0/deit/deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth",
            prefix="backbone.",
        ),
    ),
    neck=[
        # To strides 4, 8, 16 and 32. Group norm: a batch is two images a GPU.
        dict(type="mmseg.Feature2Pyramid", embed_dim=384, norm_cfg=dict(type="GN", num_groups=32)),
        dict(type="FPN", in_channels=[384, 384, 384, 384], out_channels=256, num_outs=5),
    ],
)
# That of mmdet's Swin detectors; norms, biases and embeddings do not decay, as in DeiT.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={".cls_token": dict(decay_mult=0.0), ".pos_embed": dict(decay_mult=0.0)},
    ),
)
