"""What each detection config must do: networks, tap shapes, what is inherited, settings.

Written down from the papers' and the authors' settings, not from the configs.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Sides(NamedTuple):
    """Shapes of a tap, where student and teacher differ."""

    student: Any
    teacher: Any


class Expected(NamedTuple):
    """Of one config.

    Attributes:
        student: Detector and backbone.
        teacher: The same; '' where there is none.
        epochs: Length of the training.
        taps: For each loss the shape that it gets, of student and teacher alike, or Sides.
        settings: Published hyper-parameters, the same for every level.
        inherit: Modules that begin with the teacher's weights.
        clip: Whether gradients are clipped at 35.
        masks: Whether it segments.
    """

    student: str
    teacher: str = ""
    epochs: int = 24
    taps: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    inherit: tuple[str, ...] = ()
    clip: bool = False
    masks: bool = False


# A padded batch is 2 images of 128 x 160 pixels; every neck has 256 channels.
STRIDE_4, STRIDE_8, STRIDE_16 = (2, 256, 32, 40), (2, 256, 16, 20), (2, 256, 8, 10)
# 160 / 64 = 2.5 and 160 / 128 = 1.25: the convolution of stride 2 rounds up.
STRIDE_32, STRIDE_64, STRIDE_128 = (2, 256, 4, 5), (2, 256, 2, 3), (2, 256, 1, 2)
P2_TO_P5 = [STRIDE_4, STRIDE_8, STRIDE_16, STRIDE_32]
P3_TO_P6 = [STRIDE_8, STRIDE_16, STRIDE_32, STRIDE_64]
P3_TO_P7 = [*P3_TO_P6, STRIDE_128]
# Class logits: 80 classes instead of the neck's channels.
LOGITS = [(2, 80, *shape[2:]) for shape in P3_TO_P7]
REGIONS = (1024, 81)


def levels(name, shapes):
    return {f"{name}_{level}": shape for level, shape in enumerate(shapes)}


ONE_STAGE_MGD = dict(mask="pixel", mask_ratio=0.65, loss_weight=2e-5)
TWO_STAGE_MGD = dict(mask="pixel", mask_ratio=0.45, loss_weight=5e-7)
PKD = dict(loss_weight=10.0)
NKD = dict(temperature=1.0, gamma=1.5, loss_weight=1.0)
CWD = dict(temperature=1.0, loss_weight=5.0)
FGD = dict(
    loss_weight=dict(foreground=1e-3, background=5e-4, attention=5e-4, context=5e-6),
    temperature=0.5,
)

RETINANET = "RetinaNet ResNet-50"
RETINANET_X101 = "RetinaNet ResNeXt-101-64x4d"
CASCADE_X101 = "CascadeRCNN ResNeXt-101-32x4d DCN"
HEADS = ("neck", "bbox_head")

EXPECTED: dict[str, Expected] = {
    # MGD
    **{
        f"mgd_retinanet-r50_retinanet-x101-64x4d{teacher}_2x_coco": Expected(
            RETINANET,
            RETINANET_X101,
            taps=levels("mgd", P3_TO_P7),
            settings=ONE_STAGE_MGD,
            inherit=HEADS,
            clip=True,
        )
        for teacher in ("", "-ms3x")
    },
    "mgd_faster-rcnn-r50_cascade-mask-rcnn-x101-32x4d-dcn_2x_coco": Expected(
        "FasterRCNN ResNet-50",
        CASCADE_X101,
        taps=levels("mgd", P2_TO_P5),
        settings=TWO_STAGE_MGD,
        clip=True,
    ),
    "mgd_reppoints-r50_reppoints-x101-dcn_2x_coco": Expected(
        "RepPointsDetector ResNet-50",
        "RepPointsDetector ResNeXt-101-32x4d DCN",
        taps=levels("mgd", P3_TO_P7),
        settings=ONE_STAGE_MGD,
        inherit=HEADS,
        clip=True,
    ),
    "mgd_mask-rcnn-r50_cascade-mask-rcnn-x101-32x4d-dcn_2x_coco": Expected(
        "MaskRCNN ResNet-50",
        CASCADE_X101,
        taps=levels("mgd", P2_TO_P5),
        settings=TWO_STAGE_MGD,
        clip=True,
        masks=True,
    ),
    **{
        f"mgd_solo-r50_solo-r{depth}-ms3x_1x_coco": Expected(
            "SOLO ResNet-50",
            f"SOLO ResNet-{depth}",
            epochs=12,
            taps=levels("mgd", P2_TO_P5),
            settings=ONE_STAGE_MGD,
            inherit=("neck", "mask_head"),
            clip=True,
            masks=True,
        )
        for depth in (50, 101)
    },
    # PKD
    "pkd_retinanet-r50_retinanet-x101-64x4d_2x_coco": Expected(
        RETINANET, RETINANET_X101, taps=levels("pkd", P3_TO_P6), settings=PKD
    ),
    "pkd_retinanet-r50_fcos-x101-64x4d_1x_coco": Expected(
        RETINANET,
        "FCOS ResNeXt-101-64x4d",
        epochs=12,
        taps=levels("pkd", P3_TO_P6),
        settings=PKD,
    ),
    # CWD: one module, which fires once for each level
    "cwd_gfl-r50_gfl-r101_1x_coco": Expected(
        "GFL ResNet-50", "GFL ResNet-101", epochs=12, taps={"cwd": LOGITS}, settings=CWD
    ),
    # FGD
    "fgd_retinanet-r50_retinanet-x101-64x4d_2x_coco": Expected(
        RETINANET,
        RETINANET_X101,
        taps=levels("fgd", P3_TO_P7),
        settings=FGD,
        inherit=HEADS,
        clip=True,
    ),
    # NKD: 512 regions of each image, 80 classes and background
    **{
        f"nkd_{name}-r50_{name}-r101_1x_coco": Expected(
            f"{detector} ResNet-50",
            f"{detector} ResNet-101",
            epochs=12,
            taps={"nkd": Sides(dict(logits=REGIONS, target=REGIONS[:1]), REGIONS)},
            settings=NKD,
            masks=name == "mask-rcnn",
        )
        for name, detector in (("faster-rcnn", "FasterRCNN"), ("mask-rcnn", "MaskRCNN"))
    },
    **{
        f"tf-nkd_{name}-r50_1x_coco": Expected(
            f"{detector} ResNet-50",
            epochs=12,
            taps={"tf_nkd": Sides(dict(logits=REGIONS, target=REGIONS[:1]), None)},
            settings=dict(loss_weight=1.0, soft_labels="top2"),
            masks=name == "mask-rcnn",
        )
        for name, detector in (("faster-rcnn", "FasterRCNN"), ("mask-rcnn", "MaskRCNN"))
    },
    # ViTKD: patches of 16 x 16, a class token before them; behind the last block a map
    "vitkd_faster-rcnn-vit-s_faster-rcnn-vit-b_1x_coco": Expected(
        "FasterRCNN VisionTransformer-384",
        "FasterRCNN VisionTransformer-768",
        epochs=12,
        taps={"vitkd": Sides(*([(2, 81, dim)] * 2 + [(2, dim, 8, 10)] for dim in (384, 768)))},
        settings=dict(
            loss_weight=dict(mimic=1.5e-6, generation=1.5e-7), mask_ratio=0.5, num_extra_tokens=1
        ),
    ),
    "faster-rcnn_vit-s_fpn_1x_coco": Expected("FasterRCNN VisionTransformer-384", epochs=12),
    "faster-rcnn_vit-b_fpn_1x_coco": Expected("FasterRCNN VisionTransformer-768", epochs=12),
    # A teacher that mmdet has no config of
    "solo_r101_fpn_3x_coco": Expected("SOLO ResNet-101", epochs=36, masks=True),
}
