"""Fields of a data sample as numpy arrays."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def to_numpy(field: Tensor | np.ndarray) -> np.ndarray:
    """The values of a field, wherever it lies; those of half precision become float32."""
    if isinstance(field, Tensor):
        field = field.detach().cpu()
        return (field.float() if field.is_floating_point() else field).numpy()
    return np.asarray(field)


def flow_array(field: Tensor | np.ndarray) -> np.ndarray:
    """Flow (2, H, W) as the array (H, W, 2) that functions and files take."""
    return to_numpy(field).transpose(1, 2, 0)
