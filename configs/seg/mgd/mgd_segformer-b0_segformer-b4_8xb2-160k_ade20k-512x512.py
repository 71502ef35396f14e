# MGD, SegFormer-B4 to SegFormer-B0. Schedule: the student's own, 160k, 8 x 2. No published figure.
_base_ = "mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
auto_scale_lr = dict(enable=False, base_batch_size=16)
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    teacher=dict(
        config="mmseg::segformer/segformer_mit-b4_8xb2-160k_ade20k-512x512.py",
        checkpoint="https://mmassets.onedl.ai/mmsegmentation/v0.5/segformer/segformer_mit-b4_512x512_160k_ade20k/segformer_mit-b4_512x512_160k_ade20k_20210728_183055-7f509d7d.pth",
    ),
    losses=dict(
        # The modules inside put out tokens (N, L, C). The backbone's outputs are maps (N, C, H, W);
        # these are at strides 16 and 32.
        mgd=dict(type="MGDLoss", tap="backbone[{2,3}]",
                 mask="pixel", mask_ratio=0.75, loss_weight=2e-5)),
)
