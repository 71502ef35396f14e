"""Stock mmdet models made tiny by config overrides alone, and what their taps put out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config, ConfigDict

from ..configs.det_configs import stock

STUDENT, TEACHER = 8, 16  # width in channels of what is behind the backbone


@dataclass(frozen=True)
class Architecture:
    """One family of detectors.

    Attributes:
        config: The stock config.
        tiny: What to override in it for a width in channels, as ``--cfg-options`` would.
        losses: By name, the distillation losses.
        sizes: What each loss module's taps put out, by name: height and width, for the images that
            the tests make; a list of them where the module fires several times.
        channels: The channels of student and teacher, where they are not the two widths.
        masks: Whether the model predicts instance masks.
    """

    config: str
    tiny: Callable[[int], dict[str, Any]]
    losses: dict[str, dict]
    sizes: dict[str, Any]
    channels: dict[str, tuple[int, int]] = field(default_factory=dict)
    masks: bool = False

    def whole(self, width: int) -> Config:
        """The stock config with the tiny model in it."""
        cfg = stock(self.config)
        cfg.merge_from_dict(self.tiny(width))
        return cfg

    def model(self, width: int) -> ConfigDict:
        """The tiny model's config."""
        return self.whole(width).model


def mgd(tap: str, **args: Any) -> dict[str, dict]:
    """MGD as published for one-stage detectors."""
    return dict(mgd=dict(type="MGDLoss", tap=tap, **args))


# Height and width of the pyramid's levels, by what they divide the padded image of 128 x 160.
P2, P3, P4, P5, P6, P7 = (32, 40), (16, 20), (8, 10), (4, 5), (2, 3), (1, 2)


def levels(*sizes: tuple[int, int]) -> dict[str, tuple[int, int]]:
    return {f"mgd_{index}": size for index, size in enumerate(sizes)}


ONE_STAGE = dict(
    losses=mgd("neck.fpn_convs.{0-4}.conv"),
    sizes=levels(P3, P4, P5, P6, P7),
)
TWO_STAGE = dict(
    losses=mgd("neck.fpn_convs.{0-3}.conv", mask_ratio=0.45, loss_weight=5e-7),
    sizes=levels(P2, P3, P4, P5),
)
# These pad to the larger of the two images only, 120 x 160.
MAPPED = dict(
    losses=mgd("neck.convs.{0-2}") | dict(last=dict(type="MGDLoss", tap="neck.extra_convs.0")),
    sizes=levels((15, 20), (8, 10), (4, 5)) | dict(last=(2, 3)),
)
THREE_LEVELS = dict(losses=mgd("neck.out_convs.{0-2}"), sizes=levels(P3, P4, P5))


def fpn(width: int, groups: bool = False) -> dict[str, Any]:
    """A ResNet-18 and its pyramid."""
    tiny = {
        "model.backbone.depth": 18,
        "model.backbone.base_channels": width,
        "model.backbone.init_cfg": None,  # it would download ImageNet weights
        "model.neck.in_channels": [width * 2**stage for stage in range(4)],
        "model.neck.out_channels": width,
    }
    return tiny | ({"model.neck.norm_cfg.num_groups": 4} if groups else {})


def one_stage(width: int) -> dict[str, Any]:
    return fpn(width) | {
        "model.bbox_head.in_channels": width,
        "model.bbox_head.feat_channels": width,
        "model.bbox_head.stacked_convs": 1,
        "model.test_cfg.score_thr": 0.0,  # untrained, it is sure of nothing
    }


def grouped(width: int) -> dict[str, Any]:
    """With group norm in the head, which has 32 groups by default."""
    norm = dict(type="GN", num_groups=4, requires_grad=True)
    return one_stage(width) | {"model.bbox_head.norm_cfg": norm}


def reppoints(width: int) -> dict[str, Any]:
    points = {"model.bbox_head.point_feat_channels": width}
    return grouped(width) | fpn(width, groups=True) | points


def two_stage(width: int) -> dict[str, Any]:
    return fpn(width) | {
        "model.rpn_head.in_channels": width,
        "model.rpn_head.feat_channels": width,
        "model.roi_head.bbox_roi_extractor.out_channels": width,
        "model.train_cfg.rpn_proposal.max_per_img": 50,
        "model.test_cfg.rpn.max_per_img": 30,
        "model.test_cfg.rcnn.score_thr": 0.0,
    }


def box_head(width: int, place: str = "model.roi_head.bbox_head") -> dict[str, Any]:
    return {f"{place}.in_channels": width, f"{place}.fc_out_channels": 2 * width}


def faster_rcnn(width: int) -> dict[str, Any]:
    return two_stage(width) | box_head(width)


def mask_rcnn(width: int) -> dict[str, Any]:
    return faster_rcnn(width) | {
        "model.roi_head.mask_roi_extractor.out_channels": width,
        "model.roi_head.mask_head.num_convs": 1,
        "model.roi_head.mask_head.in_channels": width,
        "model.roi_head.mask_head.conv_out_channels": width,
        "model.test_cfg.rcnn.max_per_img": 10,
    }


def cascade_rcnn(width: int) -> dict[str, Any]:
    heads = [box_head(width, f"model.roi_head.bbox_head.{stage}") for stage in range(3)]
    return two_stage(width) | heads[0] | heads[1] | heads[2]


def solo(width: int) -> dict[str, Any]:
    return fpn(width) | {
        "model.mask_head.in_channels": width,
        "model.mask_head.feat_channels": width,
        "model.mask_head.stacked_convs": 1,
        "model.mask_head.norm_cfg.num_groups": 4,
        "model.mask_head.num_grids": [8, 8, 6, 4, 3],
        "model.test_cfg.score_thr": 0.0,
        "model.test_cfg.filter_thr": 0.0,
        "model.test_cfg.mask_thr": 0.01,  # the probability that its last layer starts from
        "model.test_cfg.nms_pre": 20,
    }


def csp(width: int, factor: int) -> dict[str, Any]:
    """A backbone of YOLO's kind: its last stage has 1024 channels at factor 1, here 8 widths."""
    return {
        "model.backbone.widen_factor": width / factor,
        "model.neck.in_channels": [2 * width, 4 * width, 8 * width],
        "model.neck.out_channels": width,
        "model.bbox_head.in_channels": width,
        "model.bbox_head.feat_channels": width,
        "model.test_cfg.score_thr": 0.0,
    }


def yolox(width: int) -> dict[str, Any]:
    return csp(width, 128) | {"model.data_preprocessor.batch_augments": None}


def rtmdet(width: int) -> dict[str, Any]:
    return csp(width, 128) | {
        "model.data_preprocessor.pad_size_divisor": 32,  # its data pipeline pads
        "model.backbone.init_cfg": None,
        "model.backbone.norm_cfg.type": "BN",  # SyncBN does not train on a CPU
        "model.neck.norm_cfg.type": "BN",
        "model.bbox_head.norm_cfg.type": "BN",
        "model.test_cfg.max_per_img": 20,
    }


def rtmdet_ins(width: int) -> dict[str, Any]:
    return rtmdet(width) | {"model.data_preprocessor.pad_mask": True}


def transformer(width: int, place: str, attention: str) -> dict[str, Any]:
    """The widths of one stack of transformer layers; a head has a channel at least."""
    layer = f"{place}.layer_cfg"
    return {
        **{f"{layer}.{name}.embed_dims": width for name in attention.split()},
        f"{layer}.ffn_cfg.embed_dims": width,
        f"{layer}.ffn_cfg.feedforward_channels": width,
        f"{place}.num_layers": 1,
    }


def deformable_detr(width: int) -> dict[str, Any]:
    tiny = fpn(width, groups=True) | {
        "model.neck.in_channels": [width * 2**stage for stage in range(1, 4)],
        "model.bbox_head.embed_dims": width,
        "model.positional_encoding.num_feats": width // 2,
        "model.num_queries": 20,
    }
    tiny |= transformer(width, "model.encoder", "self_attn_cfg")
    return tiny | transformer(width, "model.decoder", "self_attn_cfg cross_attn_cfg")


def dino(width: int) -> dict[str, Any]:
    return deformable_detr(width) | {"model.dn_cfg.group_cfg.num_dn_queries": 10}


def mask2former(width: int) -> dict[str, Any]:
    head, pixels = "model.panoptic_head", "model.panoptic_head.pixel_decoder"
    tiny = {key: value for key, value in fpn(width).items() if "neck" not in key} | {
        "model.data_preprocessor.batch_augments": None,  # it would pad to 1024 x 1024
        f"{head}.in_channels": [width * 2**stage for stage in range(4)],
        f"{head}.feat_channels": width,
        f"{head}.out_channels": width,
        f"{head}.num_queries": 10,
        f"{head}.positional_encoding.num_feats": width // 2,
        f"{pixels}.norm_cfg.num_groups": 4,
        f"{pixels}.positional_encoding.num_feats": width // 2,
        "model.train_cfg.num_points": 64,
        "model.test_cfg.max_per_image": 10,
    }
    tiny |= transformer(width, f"{pixels}.encoder", "self_attn_cfg")
    return tiny | transformer(width, f"{head}.transformer_decoder", "self_attn_cfg cross_attn_cfg")


ARCHITECTURES = {
    "retinanet": Architecture(
        "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", one_stage, **ONE_STAGE
    ),
    "fcos": Architecture("mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", grouped, **ONE_STAGE),
    "gfl": Architecture(
        "mmdet::gfl/gfl_r50_fpn_1x_coco.py",
        grouped,
        losses=ONE_STAGE["losses"] | dict(cwd=dict(type="CWDLoss", tap="bbox_head.gfl_cls")),
        sizes=ONE_STAGE["sizes"] | dict(cwd=[P3, P4, P5, P6, P7]),
        channels=dict(cwd=(80, 80)),
    ),
    "atss": Architecture("mmdet::atss/atss_r50_fpn_1x_coco.py", grouped, **ONE_STAGE),
    "reppoints": Architecture(
        "mmdet::reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco.py", reppoints, **ONE_STAGE
    ),
    "faster_rcnn": Architecture(
        "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", faster_rcnn, **TWO_STAGE
    ),
    "mask_rcnn": Architecture(
        "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", mask_rcnn, **TWO_STAGE, masks=True
    ),
    "cascade_rcnn": Architecture(
        "mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py", cascade_rcnn, **TWO_STAGE
    ),
    "solo": Architecture("mmdet::solo/solo_r50_fpn_1x_coco.py", solo, **TWO_STAGE, masks=True),
    "rtmdet": Architecture("mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py", rtmdet, **THREE_LEVELS),
    "rtmdet_ins": Architecture(
        "mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py",
        rtmdet_ins,
        **THREE_LEVELS,
        masks=True,
    ),
    "yolox": Architecture("mmdet::yolox/yolox_tiny_8xb8-300e_coco.py", yolox, **THREE_LEVELS),
    "deformable_detr": Architecture(
        "mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py", deformable_detr, **MAPPED
    ),
    "dino": Architecture("mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py", dino, **MAPPED),
    "mask2former": Architecture(
        "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
        mask2former,
        losses=dict(
            mgd=dict(type="MGDLoss", tap="panoptic_head.pixel_decoder.mask_feature"),
        ),
        sizes=dict(mgd=P2),
        masks=True,
    ),
}
