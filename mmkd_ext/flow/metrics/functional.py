"""Error measures of one flow field, on numpy arrays.

Shapes: H, W pixels. Flow is (H, W, 2) in pixels, u to the right, then v downwards.
"""

from __future__ import annotations

import numpy as np

OUTLIER_PIXELS, OUTLIER_SHARE = 3.0, 0.05  # KITTI 2015: both must be exceeded


def end_point_errors(
    pred: np.ndarray, gt: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """The distance between predicted and true vector, in pixels, at each valid pixel.

    Args:
        pred: (H, W, 2).
        gt: (H, W, 2).
        valid: (H, W) bool, where the truth is known; None: everywhere.

    Returns:
        (M,) float64, M valid pixels in row-major order.

    Raises:
        ValueError: Shapes that do not fit, or values that are not finite where it counts.
    """
    pred, gt, valid = _checked(pred, gt, valid)
    return np.linalg.norm(pred[valid] - gt[valid], axis=1)


def end_point_error(pred: np.ndarray, gt: np.ndarray, valid: np.ndarray | None = None) -> float:
    """EPE, the mean of :func:`end_point_errors`, in pixels.

    Raises:
        ValueError: As there, or not one pixel is valid.
    """
    return float(_some(end_point_errors(pred, gt, valid)).mean())


def outlier_rate(pred: np.ndarray, gt: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Fl: the share of valid pixels, in percent, that are wrong by more than 3 pixels and 5 %.

    Where the true vector is 0, 3 pixels alone decide. Source: Menze and Geiger, "Object Scene Flow
    for Autonomous Vehicles", CVPR 2015.

    Args:
        pred: (H, W, 2).
        gt: (H, W, 2).
        valid: (H, W) bool; None: everywhere. With KITTI's ``flow_occ`` this is Fl-all.

    Raises:
        ValueError: As :func:`end_point_error`.
    """
    pred, gt, valid = _checked(pred, gt, valid)
    errors = _some(np.linalg.norm(pred[valid] - gt[valid], axis=1))
    lengths = np.linalg.norm(gt[valid], axis=1)
    return float(100 * outliers(errors, lengths).mean())


def outliers(errors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Which vectors are outliers as KITTI 2015 counts them.

    Args:
        errors: (M,) end-point errors in pixels.
        lengths: (M,) lengths of the true vectors in pixels.

    Returns:
        (M,) bool.
    """
    return (errors > OUTLIER_PIXELS) & (errors > OUTLIER_SHARE * lengths)


def _checked(
    pred: np.ndarray, gt: np.ndarray, valid: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pred, gt = np.asarray(pred, np.float64), np.asarray(gt, np.float64)
    if pred.ndim != 3 or pred.shape[2] != 2 or pred.shape != gt.shape:
        raise ValueError(
            f"predicted and true flow are both (H, W, 2), but got {pred.shape} and {gt.shape}"
        )
    valid = np.ones(gt.shape[:2], bool) if valid is None else np.asarray(valid).astype(bool)
    if valid.shape != gt.shape[:2]:
        raise ValueError(f"valid is (H, W) = {gt.shape[:2]}, not {valid.shape}")
    for name, flow in (("predicted", pred), ("true", gt)):
        if not np.isfinite(flow[valid]).all():
            raise ValueError(f"the {name} flow holds NaN or infinity at a valid pixel")
    return pred, gt, valid


def _some(errors: np.ndarray) -> np.ndarray:
    if not len(errors):
        raise ValueError("not one pixel is valid: there is nothing to take a mean of")
    return errors
