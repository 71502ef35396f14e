"""What travels with an image pair: flow, where it is known, and where it comes from.

Shapes: H, W pixels; h, w = H / 8, W / 8. Flow is (2, H, W) float32 in pixels, u to the right, then
v downwards, from the first image to the second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor

FLOWS = ("gt_flow", "pred_flow", "pred_flow_low")
MASKS = ("gt_valid", "gt_occluded")


class FlowDataSample(BaseDataElement):
    """One image pair.

    Data fields, each absent where there is none:

    * ``gt_flow``: (2, H, W) float32; 0 where it is not known.
    * ``gt_valid``: (H, W) bool, where it is known.
    * ``gt_occluded``: (H, W) bool, what the second image does not show.
    * ``pred_flow``: (2, H, W) float32, what the model found.
    * ``pred_flow_low``: (2, h, w), the same before it was upsampled, in pixels of that size and
      with the batch's padding.

    Metainfo: ``img1_path``, ``img2_path``, ``ori_shape`` (H, W of the files), ``sequence`` (name),
    ``index`` (place of the pair in its sequence), ``frame`` (name of the first image), ``sparse``,
    ``result_path`` (what a file of the result is called, relative), ``subset`` (of the dataset, if
    it has any) and ``pad`` (pixels that the preprocessor added: left, right, top, bottom).
    """

    def set_field(self, value: Any, name: str, dtype: Any = None, field_type: str = "data") -> None:
        """Set a field; every attribute that is set comes here.

        Raises:
            ValueError: A flow that is not (2, H, W), or a mask that is not (H, W) bool.
        """
        if isinstance(value, (Tensor, np.ndarray)):
            shape = tuple(value.shape)
            if name in FLOWS and (len(shape) != 3 or shape[0] != 2):
                raise ValueError(f"FlowDataSample.{name} is (2, H, W), not {shape}")
            if name in MASKS and (len(shape) != 2 or "bool" not in str(value.dtype)):
                raise ValueError(
                    f"FlowDataSample.{name} is (H, W) of bool, not {shape} of {value.dtype}"
                )
        super().set_field(value, name, dtype, field_type)
