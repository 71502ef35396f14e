"""Flow as colours: the hue says where to, the saturation how far."""

from __future__ import annotations

import mmcv
import numpy as np


def flow_to_color(
    flow: np.ndarray, valid: np.ndarray | None = None, max_radius: float | None = None
) -> np.ndarray:
    """Colour a flow field by Middlebury's wheel; no motion is white.

    Source: Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011.

    Args:
        flow: (H, W, 2) in pixels.
        valid: (H, W) bool; elsewhere it is white. None: known everywhere.
        max_radius: Length of the vectors, in pixels, that get the full colour; longer ones get it,
            too. None: the longest of this field. For a video, or to compare, give one to all.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: Wrong shapes, NaN or infinity, or a ``max_radius`` that is not positive.
    """
    flow = np.asarray(flow, np.float64)
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"flow_to_color: flow is (H, W, 2), not {flow.shape}")
    if valid is not None:
        valid = np.asarray(valid).astype(bool)
        if valid.shape != flow.shape[:2]:
            raise ValueError(f"flow_to_color: valid is {flow.shape[:2]}, not {valid.shape}")
        flow = np.where(valid[..., None], flow, 0.0)
    if not np.isfinite(flow).all():
        raise ValueError("flow_to_color: the flow holds NaN or infinity; say so with `valid`")
    lengths = np.linalg.norm(flow, axis=2, keepdims=True)
    if max_radius is None:
        max_radius = float(lengths.max(initial=0.0))
    elif not max_radius > 0:
        raise ValueError(f"flow_to_color: max_radius is a length above 0, not {max_radius!r}")
    if max_radius == 0:
        return np.full((*flow.shape[:2], 3), 255, np.uint8)
    flow = flow / np.maximum(lengths, max_radius)
    # One more row, with a vector of length 1: mmcv divides by the longest there is.
    unit = np.zeros((1, flow.shape[1], 2))
    unit[..., 0] = 1.0
    colours = mmcv.flow2rgb(np.concatenate([flow, unit]))[:-1]
    return np.floor(255 * colours.clip(0, 1)).astype(np.uint8)
