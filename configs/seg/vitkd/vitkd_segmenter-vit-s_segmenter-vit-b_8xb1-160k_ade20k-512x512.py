# ViTKD, Segmenter-ViT-B to Segmenter-ViT-S. Schedule: the student's own, 160k, 8 x 1. No published
# figure.
_base_ = "mmseg::segmenter/segmenter_vit-s_mask_8xb1-160k_ade20k-512x512.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
auto_scale_lr = dict(enable=False, base_batch_size=8)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # The teacher has drop path 0.1, which eval mode keeps off.
    teacher=dict(
        config="mmseg::segmenter/segmenter_vit-b_mask_8xb1-160k_ade20k-512x512.py",
        checkpoint="https://mmassets.onedl.ai/mmsegmentation/v0.5/segmenter/segmenter_vit-b_mask_8x1_512x512_160k_ade20k/segmenter_vit-b_mask_8x1_512x512_160k_ade20k_20220105_151706-bc533b08.pth",
    ),
    losses=dict(
        # Sums over 32 x 32 tokens, where the published weights, 3e-5 and 3e-6, are for 14 x 14: a fifth.
        vitkd=dict(type="ViTKDLoss", tap=["backbone.layers.{0,1}", "backbone.ln1"],
                   mimic_weight=6e-6, generation_weight=6e-7)),
)
