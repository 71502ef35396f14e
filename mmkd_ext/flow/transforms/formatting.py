"""The end of the pipelines: arrays become tensors and a data sample."""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmkd_ext.flow.structures import FlowDataSample
from mmkd_ext.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackFlowInputs(BaseTransform):
    """Make tensors of a pair: ``inputs`` (2, 3, H, W) uint8 RGB and ``data_samples``."""

    META_KEYS = (
        "img1_path",
        "img2_path",
        "ori_shape",
        "sequence",
        "index",
        "frame",
        "sparse",
        "result_path",
        "subset",
    )

    def transform(self, results: dict) -> dict:
        """The item of the dataset; see :class:`mmkd_ext.flow.structures.FlowDataSample`."""
        metainfo = {key: results[key] for key in self.META_KEYS if key in results}
        sample = FlowDataSample(metainfo=metainfo)
        if "gt_flow" in results:
            flow = np.ascontiguousarray(results["gt_flow"].transpose(2, 0, 1), np.float32)
            sample.gt_flow = torch.from_numpy(flow)
        for name in ("gt_valid", "gt_occluded"):
            if name in results:
                setattr(sample, name, torch.from_numpy(np.ascontiguousarray(results[name])))
        pair = np.stack([results["img1"], results["img2"]]).transpose(0, 3, 1, 2)
        return {"inputs": torch.from_numpy(np.ascontiguousarray(pair)), "data_samples": sample}
