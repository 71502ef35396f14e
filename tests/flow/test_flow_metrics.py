"""Error measures against numbers worked out by hand, and against mmcv-free formulas."""

from __future__ import annotations

import numpy as np
import pytest

from mmkd_ext.flow import end_point_error, outlier_rate
from mmkd_ext.flow.metrics.functional import end_point_errors

GT = np.array([[[0, 0], [3, 4], [100, 0], [60, 80]]], float)
PRED = np.array([[[3, 4], [3, 4], [96, 0], [60, 70]]], float)  # wrong by 5, 0, 4 and 10 pixels


def test_by_hand():
    assert end_point_errors(PRED, GT).tolist() == [5, 0, 4, 10]
    assert end_point_error(PRED, GT) == 4.75
    # 4 pixels are 4 % of 100, and so no outlier; 10 are 10 %; of no motion, 3 pixels decide.
    assert outlier_rate(PRED, GT) == 50
    valid = np.array([[False, True, True, True]])
    assert end_point_error(PRED, GT, valid) == pytest.approx(14 / 3)
    assert outlier_rate(PRED, GT, valid) == pytest.approx(100 / 3)


def test_both_thresholds_must_be_exceeded():
    gt = np.array([[[60.0, 0], [60, 0], [0, 0], [0, 0]]])
    error = np.array([[[3.0, 0], [3.001, 0], [0, 3.0], [0, 3.001]]])
    # 5 % of 60 pixels are 3: neither limit itself is an outlier.
    assert outlier_rate(gt + error, gt) == 50


def test_what_is_invalid_may_hold_anything():
    gt, pred = GT.copy(), PRED.copy()
    gt[0, 0], pred[0, 1] = np.nan, np.inf
    valid = np.array([[False, False, True, True]])
    assert end_point_error(pred, gt, valid) == 7
    with pytest.raises(ValueError, match="the predicted flow holds NaN or infinity at a valid"):
        end_point_error(pred, GT)
    with pytest.raises(ValueError, match="the true flow holds NaN"):
        outlier_rate(PRED, gt)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"both \(H, W, 2\), but got \(1, 3, 2\) and \(1, 4, 2\)"):
        end_point_error(PRED[:, :3], GT)
    with pytest.raises(ValueError, match=r"valid is \(H, W\) = \(1, 4\), not \(4, 1\)"):
        outlier_rate(PRED, GT, np.ones((4, 1)))
    for measure in (end_point_error, outlier_rate):
        with pytest.raises(ValueError, match="not one pixel is valid"):
            measure(PRED, GT, np.zeros((1, 4), bool))
