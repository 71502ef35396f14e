"""Stock segmentors in tiny form, each with a larger teacher, losses and what their taps put out.

A model is mmseg's own config with some settings overridden, as ``--cfg-options`` would override
them; no class is ours. Written down by hand are the shapes at the taps: N images of 64 x 64 pixels,
C channels, H x W cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import mmseg.models  # noqa: F401  (its registry)

from tests.configs.seg_configs import IMAGES as N
from tests.configs.seg_configs import make_small
from tests.distill.stock_models import stock

SIZE = (64, 64)


class Case(NamedTuple):
    """One architecture.

    Attributes:
        config: mmseg's, of the student.
        student: What makes it tiny: dotted keys of the model's config.
        teacher: What makes the teacher, of the same family, larger: beside the student's keys, or
            in their place.
        losses: As the Distiller has them.
        taps: For each loss module the shapes that it gets: (student, teacher).
        own: What the student logs of its own.
        classes: Of the dataset.
        teacher_config: Of a teacher from another family.
        teacher_forward: The entry through which the teacher runs.
    """

    config: str
    student: dict[str, Any]
    teacher: dict[str, Any]
    losses: dict[str, dict[str, Any]]
    taps: dict[str, tuple[Any, Any]]
    own: set[str]
    classes: int = 19
    teacher_config: str = ""
    teacher_forward: str = "tensor"


def model_of(config: str, *overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A stock model with overrides, and without what a CPU without network cannot have."""
    cfg = stock(config)
    for options in overrides:
        cfg.merge_from_dict({f"model.{key}": value for key, value in options.items()})
    make_small(cfg.model, SIZE)
    return cfg.model


def student_of(case: Case) -> dict[str, Any]:
    return model_of(case.config, case.student)


def distiller_of(case: Case) -> dict[str, Any]:
    """The Distiller's config."""
    config = (
        model_of(case.teacher_config, case.teacher)
        if case.teacher_config
        else model_of(case.config, case.student, case.teacher)
    )
    teacher = dict(config=config, forward=case.teacher_forward)
    return dict(
        type="mmkd_ext.Distiller",
        student=student_of(case),
        teacher=teacher,
        losses=case.losses,
        input_shape=(3, *SIZE),
    )


def maps(student: int, teacher: int, cells: int) -> tuple[Any, Any]:
    return ((N, student, cells, cells), (N, teacher, cells, cells))


def resnet(width: int, **heads: int) -> dict[str, Any]:
    """A ResNet-18 that begins with ``width`` channels, and heads of as many."""
    return {
        "backbone.stem_channels": width,
        "backbone.base_channels": width,
        "decode_head.in_channels": 8 * width,
        "decode_head.channels": width,
        "auxiliary_head.in_channels": 4 * width,
        "auxiliary_head.channels": width,
        **{f"decode_head.{key}": value for key, value in heads.items()},
    }


def pyramid(widths: list[int], channels: int, aux: bool = False) -> dict[str, Any]:
    """A head on the four stages of a backbone."""
    options = {"decode_head.in_channels": widths, "decode_head.channels": channels}
    if aux:
        options |= {"auxiliary_head.in_channels": widths[2], "auxiliary_head.channels": channels}
    return options


def hrnet(width: int) -> dict[str, Any]:
    """An HRNet of one block a branch, and two heads one after the other."""
    widths = [width * 2**i for i in range(4)]
    options = {}
    for stage, branches in enumerate((1, 2, 3, 4), start=1):
        prefix = f"backbone.extra.stage{stage}"
        options[f"{prefix}.num_modules"] = 1
        options[f"{prefix}.num_blocks"] = (1,) * branches
        options[f"{prefix}.num_channels"] = tuple(widths[:branches])
    for head in (0, 1):
        options[f"decode_head.{head}.in_channels"] = widths
        options[f"decode_head.{head}.channels"] = 2 * width
    return options | {"decode_head.1.ocr_channels": width}


def mask2former(width: int, depth: int) -> dict[str, Any]:
    """A ResNet of bottlenecks, and ``width`` channels in the two decoders."""
    pixel, decoder = "decode_head.pixel_decoder", "decode_head.transformer_decoder"
    return {
        "backbone.depth": depth,
        "backbone.base_channels": width // 4,
        "decode_head.in_channels": [width, 2 * width, 4 * width, 8 * width],
        "decode_head.feat_channels": width,
        "decode_head.out_channels": width,
        "decode_head.num_queries": 10,
        "decode_head.positional_encoding.num_feats": width // 2,
        f"{pixel}.norm_cfg.num_groups": 4,
        f"{pixel}.positional_encoding.num_feats": width // 2,
        f"{pixel}.encoder.num_layers": 1,
        f"{pixel}.encoder.layer_cfg.self_attn_cfg.embed_dims": width,
        f"{pixel}.encoder.layer_cfg.ffn_cfg.embed_dims": width,
        f"{pixel}.encoder.layer_cfg.ffn_cfg.feedforward_channels": 2 * width,
        f"{decoder}.num_layers": 2,
        f"{decoder}.layer_cfg.self_attn_cfg.embed_dims": width,
        f"{decoder}.layer_cfg.cross_attn_cfg.embed_dims": width,
        f"{decoder}.layer_cfg.ffn_cfg.embed_dims": width,
        f"{decoder}.layer_cfg.ffn_cfg.feedforward_channels": 2 * width,
        "decode_head.train_cfg.num_points": 64,
    }


MGD = dict(type="MGDLoss", mask="pixel", mask_ratio=0.5, loss_weight=1e-3)
WITH_AUX = {"decode.loss_ce", "decode.acc_seg", "aux.loss_ce", "aux.acc_seg"}

CASES: dict[str, Case] = {
    "fcn": Case(
        "mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py",
        student=resnet(8),
        teacher=resnet(16),
        losses=dict(mgd=dict(MGD, tap="backbone.layer4")),
        taps=dict(mgd=maps(64, 128, 8)),
        own=WITH_AUX,
    ),
    "pspnet": Case(
        "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py",
        student=resnet(8),
        teacher=resnet(16),
        losses=dict(
            mgd=dict(MGD, tap="backbone.layer4"),
            cwd=dict(type="CWDLoss", tap="decode_head.conv_seg"),
            nkd=dict(type="NKDLoss", tap="decode_head.conv_seg"),
        ),
        taps=dict(mgd=maps(64, 128, 8), cwd=maps(19, 19, 8), nkd=maps(19, 19, 8)),
        own=WITH_AUX,
    ),
    "deeplabv3plus": Case(
        "mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py",
        student=resnet(8, c1_in_channels=8, c1_channels=4),
        teacher=resnet(16, c1_in_channels=16, c1_channels=8),
        # Its logits come from stride 4, where the low-level features join.
        losses=dict(
            mgd=dict(MGD, tap="backbone.layer{1,4}"),
            cwd=dict(type="CWDLoss", tap="decode_head.conv_seg"),
        ),
        taps=dict(mgd_0=maps(8, 16, 16), mgd_1=maps(64, 128, 8), cwd=maps(19, 19, 16)),
        own=WITH_AUX,
    ),
    "upernet_swin": Case(
        "mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py",
        student={
            "backbone.embed_dims": 8,
            "backbone.depths": [1, 1, 1, 1],
            "backbone.num_heads": [1, 2, 2, 2],
            **pyramid([8, 16, 32, 64], 8, aux=True),
        },
        teacher={
            "backbone.embed_dims": 16,
            "backbone.depths": [1, 1, 2, 1],
            **pyramid([16, 32, 64, 128], 16, aux=True),
        },
        # Strides 4 and 8; the auxiliary head of the teacher does not run.
        losses=dict(mgd=dict(MGD, tap="backbone[{0,1}]")),
        taps=dict(mgd_0=maps(8, 16, 16), mgd_1=maps(16, 32, 8)),
        own=WITH_AUX,
        classes=150,
    ),
    "segformer": Case(
        "mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
        student={
            "backbone.embed_dims": 4,
            "backbone.num_layers": [1, 1, 1, 1],
            **pyramid([4, 8, 20, 32], 8),
        },
        teacher={
            "backbone.embed_dims": 8,
            "backbone.num_layers": [2, 2, 2, 2],
            **pyramid([8, 16, 40, 64], 16),
        },
        losses=dict(
            mgd=dict(MGD, tap="backbone[{1,2}]"),
            kd=dict(type="KDLoss", tap="decode_head.conv_seg"),
        ),
        taps=dict(mgd_0=maps(8, 16, 8), mgd_1=maps(20, 40, 4), kd=maps(150, 150, 16)),
        own={"decode.loss_ce", "decode.acc_seg"},
        classes=150,
    ),
    "mask2former": Case(
        "mmseg::mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py",
        student=mask2former(16, 50),
        teacher=mask2former(32, 101),
        # The map that the queries' masks are products with, at stride 4, and stride 8 of the
        # backbone. The head's forward wants the samples, which mode 'tensor' does not hand over.
        losses=dict(
            mgd=dict(MGD, tap="backbone[1]"),
            masks=dict(
                MGD,
                tap="decode_head.pixel_decoder.mask_feature",
                student_channels=16,
                teacher_channels=32,
            ),
        ),
        taps=dict(mgd=maps(32, 64, 8), masks=maps(16, 32, 16)),
        own={
            f"decode.{layer}loss_{kind}"
            for layer in ("", "d0.", "d1.")
            for kind in ("cls", "mask", "dice")
        },
        teacher_forward="loss",
    ),
    # A plain ViT: three token maps, 16 patches and the class token. Its output is the last as a map.
    "segmenter": Case(
        "mmseg::segmenter/segmenter_vit-s_mask_8xb1-160k_ade20k-512x512.py",
        student={
            "backbone.embed_dims": 12,
            "backbone.num_layers": 3,
            "backbone.num_heads": 2,
            "decode_head.in_channels": 12,
            "decode_head.channels": 12,
            "decode_head.embed_dims": 12,
            "decode_head.num_heads": 2,
            "decode_head.num_layers": 1,
        },
        teacher={
            "backbone.embed_dims": 24,
            "backbone.num_layers": 4,
            "decode_head.in_channels": 24,
            "decode_head.channels": 24,
            "decode_head.embed_dims": 24,
        },
        losses=dict(
            tokens=dict(type="ViTKDLoss", tap=["backbone.layers.{0,1}", "backbone.ln1"]),
            grid=dict(type="ViTKDLoss", tap=["backbone.layers.{0,1}", "backbone[0]"]),
        ),
        taps=dict(
            tokens=([(N, 17, 12)] * 3, [(N, 17, 24)] * 3),
            grid=([(N, 17, 12)] * 2 + [(N, 12, 4, 4)], [(N, 17, 24)] * 2 + [(N, 24, 4, 4)]),
        ),
        own={"decode.loss_ce", "decode.acc_seg"},
        classes=150,
    ),
    # Two heads in a row; the second one's logits are the student's answer.
    "ocrnet": Case(
        "mmseg::ocrnet/ocrnet_hr18_4xb2-80k_cityscapes-512x1024.py",
        student=hrnet(4),
        teacher=hrnet(8),
        losses=dict(
            mgd=dict(MGD, tap="backbone[{0,1}]"),
            cwd=dict(type="CWDLoss", tap="decode_head.1.conv_seg"),
        ),
        taps=dict(mgd_0=maps(4, 8, 16), mgd_1=maps(8, 16, 8), cwd=maps(19, 19, 16)),
        own={f"decode_{head}.{key}" for head in (0, 1) for key in ("loss_ce", "acc_seg")},
    ),
    # A transformer that learns from a convolutional network, at the stride that both have; their
    # classes, 150 and 19, do not matter to a map.
    "segformer_from_pspnet": Case(
        "mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
        student={
            "backbone.embed_dims": 4,
            "backbone.num_layers": [1, 1, 1, 1],
            **pyramid([4, 8, 20, 32], 8),
        },
        teacher_config="mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py",
        teacher=resnet(8),
        losses=dict(mgd=dict(MGD, tap=dict(student="backbone[1]", teacher="backbone.layer4"))),
        taps=dict(mgd=maps(8, 64, 8)),
        own={"decode.loss_ce", "decode.acc_seg"},
        classes=150,
    ),
}
