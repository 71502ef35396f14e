"""What travels with the frames of a video: masks, and where they come from.

Shapes: T frames of a clip, H, W pixels, N objects that a network is asked for. A mask holds one id
a pixel: 0 = background, 255 = void (in ground truth as read from a file), else an object.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor

DIMENSIONS = {"gt_masks": 3, "valid_objects": 1, "given_mask": 2, "gt_mask": 2, "pred_mask": 2}


class VOSDataSample(BaseDataElement):
    """A training clip, or one frame of a video that is tested.

    Data fields of a clip:

    * ``gt_masks``: (T, H, W) int64, 0 = background, 1..N = the objects.
    * ``valid_objects``: (N,) bool; False for those that only fill up the number.

    Data fields of a frame, each absent where there is none:

    * ``given_mask``: (H, W) uint8, the ids of the objects given here, 0 = nothing said.
    * ``gt_mask``: (H, W) uint8, ground truth; may hold 255 = void.
    * ``pred_mask``: (H, W) uint8, what the model found; ids as in the given masks.

    Metainfo of both: ``video`` (name), ``ori_shape`` (H, W of the files). Of a clip: ``frames``
    (T names). Of a frame: ``frame`` (name), ``index``, ``num_frames``, ``is_first``, ``is_last``.
    """

    def set_field(self, value: Any, name: str, dtype: Any = None, field_type: str = "data") -> None:
        """Set a field; every attribute that is set comes here.

        Raises:
            ValueError: A mask with the wrong number of dimensions, or of floating-point numbers.
        """
        dimensions = DIMENSIONS.get(name)
        if dimensions is not None and isinstance(value, (Tensor, np.ndarray)):
            inexact = (
                value.is_floating_point()
                if isinstance(value, Tensor)
                else value.dtype.kind not in ("b", "u", "i")
            )
            if value.ndim != dimensions or inexact:
                raise ValueError(
                    f"VOSDataSample.{name} holds ids or flags in {dimensions} dimensions, but got "
                    f"{value.dtype} of shape {tuple(value.shape)}"
                )
        super().set_field(value, name, dtype, field_type)
