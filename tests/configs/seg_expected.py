"""What each segmentation config must do: crops, iterations, tap shapes, published settings.

Written down from the papers', the authors' and mmseg's settings, not from the configs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

N = 2  # images in a made batch


class Expected(NamedTuple):
    """Of one config.

    Attributes:
        size: (H, W) of the test's crops.
        crop: (H, W) of the real ones.
        classes: Of the dataset.
        iterations: Of the training.
        student_losses: Keys of the student's own losses.
        taps: For each loss what it gets: (student, teacher).
        settings: For each loss its hyper-parameters.
    """

    size: tuple[int, int]
    crop: tuple[int, int]
    classes: int
    iterations: int
    student_losses: set[str]
    taps: dict[str, tuple[Any, Any]] = {}
    settings: dict[str, dict[str, Any]] = {}


def maps(student, teacher, height, width):
    return ((N, student, height, width), (N, teacher, height, width))


def tokens(student, teacher):
    """Three token maps each; 64 pixels are 4 x 4 patches, and the class token."""
    return ([(N, 17, student)] * 3, [(N, 17, teacher)] * 3)


WITH_AUX = {"decode.loss_ce", "aux.loss_ce"}
DECODE = {"decode.loss_ce"}
MGD = dict(mask="pixel", mask_ratio=0.75, loss_weight=2e-5)
MGD_LOGITS = dict(temperature=4.0, loss_weight=3.0)
PIXELS = dict(ignore_index=255, resize=None, loss_weight=1.0)
KD = dict(PIXELS, temperature=1.0, alpha=1.0)
NKD = dict(PIXELS, temperature=1.0, gamma=1.5, soft_labels="argmax")
TF_NKD = dict(PIXELS)
RAZOR_CWD = dict(temperature=1.0, loss_weight=5.0)
VITKD = dict(
    loss_weight={"mimic": 6e-6, "generation": 6e-7},
    mask_ratio=0.5,
    num_extra_tokens=1,
    grid_size=None,
)


def cityscapes(**losses):
    return _expected(((64, 64), (512, 512), 19, 40_000, WITH_AUX), losses)


def ade20k(iterations=160_000, student_losses=WITH_AUX, side=64, **losses):
    return _expected(((side, side), (512, 512), 150, iterations, student_losses), losses)


def _expected(fixed, losses):
    taps = {name: given[0] for name, given in losses.items()}
    settings = {name: given[1] for name, given in losses.items()}
    return Expected(*fixed, taps, settings)


# Stride 8, dilated: layer4 of a ResNet-18 and of a ResNet-101; the 19 classes of Cityscapes.
LAYER4, LOGITS = maps(512, 2048, 8, 8), maps(19, 19, 8, 8)

EXPECTED: dict[str, Expected] = {
    # Students that mmseg lacks
    "pspnet_r18-d8_8xb2-40k_cityscapes-512x512": cityscapes(),
    "deeplabv3_r18-d8_8xb2-40k_cityscapes-512x512": cityscapes(),
    # MGD, published
    "mgd_pspnet-r18_pspnet-r101_8xb2-40k_cityscapes-512x512": cityscapes(mgd=(LAYER4, MGD)),
    "mgd_deeplabv3-r18_pspnet-r101_8xb2-40k_cityscapes-512x512": cityscapes(mgd=(LAYER4, MGD)),
    "mgd-cwd_pspnet-r18_pspnet-r101_8xb2-40k_cityscapes-512x512": cityscapes(
        mgd=(LAYER4, MGD), cwd=(LOGITS, MGD_LOGITS)
    ),
    "mgd-cwd_deeplabv3-r18_pspnet-r101_8xb2-40k_cityscapes-512x512": cityscapes(
        mgd=(LAYER4, MGD), cwd=(LOGITS, MGD_LOGITS)
    ),
    # MGD, our own family
    "mgd_pspnet-r50_pspnet-r101_4xb4-80k_ade20k-512x512": ade20k(
        80_000, mgd=(maps(2048, 2048, 8, 8), MGD)
    ),
    # Strides 16 and 32; larger images, since MGD may mask each of the few cells of a small map.
    # Swin-T has 384 and 768 channels, Swin-B 512 and 1024.
    "mgd_upernet-swin-t_upernet-swin-b_8xb2-160k_ade20k-512x512": ade20k(
        side=96, mgd_0=(maps(384, 512, 6, 6), MGD), mgd_1=(maps(768, 1024, 3, 3), MGD)
    ),
    # MiT-B0 160 and 256 channels, MiT-B4 320 and 512.
    "mgd_segformer-b0_segformer-b4_8xb2-160k_ade20k-512x512": ade20k(
        student_losses=DECODE,
        side=96,
        mgd_0=(maps(160, 320, 6, 6), MGD),
        mgd_1=(maps(256, 512, 3, 3), MGD),
    ),
    # ViTKD
    "vitkd_segmenter-vit-s_segmenter-vit-b_8xb1-160k_ade20k-512x512": ade20k(
        student_losses=DECODE, vitkd=(tokens(384, 768), VITKD)
    ),
    # KD, NKD and tf-NKD on the pixels
    "kd_pspnet-r18_pspnet-r101_8xb2-40k_cityscapes-512x512": cityscapes(kd=(LOGITS, KD)),
    "nkd_pspnet-r18_pspnet-r101_8xb2-40k_cityscapes-512x512": cityscapes(nkd=(LOGITS, NKD)),
    "tf-nkd_pspnet-r18_8xb2-40k_cityscapes-512x512": cityscapes(tf_nkd=((LOGITS[0], None), TF_NKD)),
    # CWD, published
    "cwd_pspnet-r18_pspnet-r101_4xb2-80k_cityscapes-512x1024": _expected(
        ((64, 128), (512, 1024), 19, 80_000, WITH_AUX), dict(cwd=(maps(19, 19, 8, 16), RAZOR_CWD))
    ),
}
