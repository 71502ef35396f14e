# MGD, UPerNet-Swin-B to UPerNet-Swin-T. Schedule: the student's own, 160k, 8 x 2. No published figure.
_base_ = "mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
auto_scale_lr = dict(enable=False, base_batch_size=16)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # Pre-trained on ImageNet-22k, the student on ImageNet-1k.
    teacher=dict(
        config="mmseg::swin/swin-base-patch4-window7-in22k-pre_upernet_8xb2-160k_ade20k-512x512.py",
        checkpoint="https://mmassets.onedl.ai/mmsegmentation/v0.5/swin/upernet_swin_base_patch4_window7_512x512_160k_ade20k_pretrain_224x224_22K/upernet_swin_base_patch4_window7_512x512_160k_ade20k_pretrain_224x224_22K_20210526_211650-762e2178.pth",
    ),
    losses=dict(
        # The last two of the backbone's outputs: maps (N, C, H, W) at strides 16 and 32.
        mgd=dict(type="MGDLoss", tap="backbone[{2,3}]",
                 mask="pixel", mask_ratio=0.75, loss_weight=2e-5)),
)
