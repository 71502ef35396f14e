"""Stock detectors and segmentors from their libraries' configs, made tiny, and their batches."""

from __future__ import annotations

import mmdet.models  # noqa: F401  (its registry)
import mmseg.models  # noqa: F401
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmkd_ext.compat import resolve_config

RETINANET = "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"
FASTER_RCNN = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
YOLOX_TINY = "mmdet::yolox/yolox_tiny_8xb8-300e_coco.py"
PSPNET = "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py"


def stock(config: str) -> Config:
    return Config.fromfile(resolve_config(config))


def detector(config: str, classes: int, width: int = 8) -> dict:
    """A stock detector with a ResNet-18 of ``width`` channels and its FPN."""
    model = stock(config).model
    model.backbone.update(depth=18, base_channels=width, init_cfg=None)
    model.neck.update(in_channels=[width * 2**i for i in range(4)], out_channels=width)
    if "rpn_head" in model:
        model.rpn_head.update(in_channels=width, feat_channels=width)
        model.roi_head.bbox_roi_extractor.out_channels = width
        model.roi_head.bbox_head.update(in_channels=width, fc_out_channels=16, num_classes=classes)
    else:
        model.bbox_head.update(in_channels=width, feat_channels=width, num_classes=classes)
        model.test_cfg.score_thr = 0.0  # untrained, its scores are about 0.01
    return model


def det_batch(sizes=((96, 128), (80, 100)), classes=3, seed=0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    images, samples = [], []
    for i, (height, width) in enumerate(sizes):
        images.append(torch.randint(0, 256, (3, height, width), generator=generator).byte())
        sample = DetDataSample(
            metainfo=dict(
                img_id=i,
                img_shape=(height, width),
                ori_shape=(height, width),
                scale_factor=(1.0, 1.0),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[10.0, 10.0, 60.0, 60.0], [30.0, 20.0, 90.0, 70.0]]),
            labels=torch.tensor([i % classes, (i + 1) % classes]),
        )
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def segmentor(width: int = 8, norm: str = "BN") -> dict:
    model = stock(PSPNET).model
    norm = dict(type=norm, requires_grad=True)  # the stock SyncBN does not train on a CPU
    model.pretrained = None
    model.data_preprocessor.size = (64, 64)
    model.backbone.update(stem_channels=width, base_channels=width, norm_cfg=norm)
    model.decode_head.update(in_channels=8 * width, channels=width, norm_cfg=norm)
    model.auxiliary_head.update(in_channels=4 * width, channels=width, norm_cfg=norm)
    return model


def seg_batch(sizes=((64, 64), (50, 64)), seed=0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    images, samples = [], []
    for size in sizes:
        images.append(torch.randint(0, 256, (3, *size), generator=generator).byte())
        labels = torch.randint(0, 19, (1, *size), generator=generator)
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=labels),
                metainfo=dict(img_shape=size, ori_shape=size, img_path="none.png"),
            )
        )
    return dict(inputs=images, data_samples=samples)


def distilled_segmentor(teacher: dict) -> dict:
    return dict(
        type="mmkd_ext.Distiller",
        student=segmentor(),
        teacher=teacher,
        losses=dict(
            cwd=dict(type="CWDLoss", tap="decode_head.conv_seg"),
            mgd=dict(type="MGDLoss", tap="backbone.layer4", loss_weight=1e-4),
        ),
        input_shape=(3, 64, 64),
    )
