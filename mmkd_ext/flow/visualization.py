"""Predicted and true flow beside the image, through mmengine's visualizer.

Shapes: H, W pixels. Images are (H, W, 3) uint8 RGB; flow is (2, H, W) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import mmcv
import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer

from mmkd_ext.flow.arrays import flow_array, to_numpy
from mmkd_ext.flow.color import flow_to_color
from mmkd_ext.flow.metrics.functional import end_point_errors
from mmkd_ext.flow.picture import UNKNOWN_GREY, Panel, compose, error_map, usual_max_error
from mmkd_ext.flow.structures import FlowDataSample
from mmkd_ext.flow.warp import warp
from mmkd_ext.registry import VISUALIZERS


@VISUALIZERS.register_module()
class FlowVisualizer(Visualizer):
    """Draw image 1, true flow, predicted flow, and the error of each pixel.

    One wheel of colours serves all flow in a picture; its scale and that of the error stand beside
    it. Pixels whose true flow is not known are grey. Without ground truth, and if image 2 is given,
    there is instead image 2 warped back by the prediction, which should look like image 1.

    The arguments are those of mmengine's ``Visualizer``.
    """

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray | Sequence[np.ndarray],
        data_sample: FlowDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0.0,
        out_file: str | None = None,
        step: int = 0,
        max_radius: float | None = None,
        max_error: float | None = None,
    ) -> None:
        """Draw one pair; the picture can then be had by ``get_image()``.

        Args:
            name: Of the picture.
            image: Image 1, or the pair (image 1, image 2).
            data_sample: With ``gt_flow``, ``pred_flow``, both or neither.
            draw_gt: Draw the true flow, if it is there.
            draw_pred: Draw the predicted flow, if it is there.
            show: Open a window.
            wait_time: Seconds that the window stays; 0: until a key is hit.
            out_file: Write the picture there; None: hand it to the visualizer's backends.
            step: For the backends.
            max_radius: Length, in pixels, that gets the full colour; give one for all pictures of a
                video. None: the longest true vector, or else the longest predicted one.
            max_error: Error, in pixels, that gets the brightest colour; None: what 99 % of the
                pixels do not exceed.

        Raises:
            ValueError: Image and flow differ in size, the prediction holds NaN or infinity, or
                ``max_radius`` or ``max_error`` is not positive.
        """
        drawn = draw_pair(
            image,
            _flow(data_sample, "gt_flow") if draw_gt else None,
            _flow(data_sample, "pred_flow") if draw_pred else None,
            to_numpy(data_sample.gt_valid)
            if data_sample is not None and "gt_valid" in data_sample
            else None,
            max_radius,
            max_error,
        )
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(drawn[..., ::-1], out_file)
        else:
            self.add_image(name, drawn, step)


def draw_pair(
    image: np.ndarray | Sequence[np.ndarray],
    gt: np.ndarray | None = None,
    pred: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    max_radius: float | None = None,
    max_error: float | None = None,
) -> np.ndarray:
    """What :class:`FlowVisualizer` draws, from arrays.

    Args:
        image: (H, W, 3) uint8 RGB, image 1; or it and image 2.
        gt: (H, W, 2), the true flow.
        pred: (H, W, 2), the predicted flow.
        valid: (H, W) bool, where the true flow is known; None: everywhere.
        max_radius: As there.
        max_error: As there.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        ValueError: As there.
    """
    images = [image] if isinstance(image, np.ndarray) and image.ndim == 3 else list(image)
    size = images[0].shape[:2]
    for what, flow in (("true", gt), ("predicted", pred)):
        if flow is not None and flow.shape[:2] != size:
            raise ValueError(
                f"the image is {size}, but the {what} flow {flow.shape[:2]} (height, width)"
            )
    valid = None if valid is None else np.asarray(valid).astype(bool)
    radius = max_radius if max_radius is not None else _radius(gt, pred, valid)
    panels = [Panel(images[0], "image 1")]
    if gt is not None:
        colours = flow_to_color(gt, valid, radius)
        if valid is not None:
            colours[~valid] = UNKNOWN_GREY
        panels.append(Panel(colours, "true flow"))
    if pred is not None:
        panels.append(Panel(flow_to_color(pred, None, radius), "predicted flow"))
    bar = None
    if gt is not None and pred is not None:
        errors = end_point_errors(pred, gt, valid)
        bar = usual_max_error(errors) if max_error is None else max_error
        title = "error: no pixel is valid"
        if len(errors):
            title = f"error: mean {errors.mean():.3g} px, largest {errors.max():.3g} px"
        panels.append(Panel(error_map(pred, gt, valid, bar), title))
    elif pred is not None and len(images) > 1:
        panels.append(Panel(warp(images[1], pred)[0], "image 2 moved back by the prediction"))
    return compose(panels, radius, bar)


def _radius(
    gt: np.ndarray | None, pred: np.ndarray | None, valid: np.ndarray | None
) -> float | None:
    """The longest vector of the first that has one; None where nothing moves."""
    known = None if gt is None or valid is None else gt[valid]
    for flow in (gt if known is None else known, pred):
        if flow is not None and (longest := float(np.linalg.norm(flow, axis=-1).max(initial=0))):
            return longest
    return None


def _flow(sample: FlowDataSample | None, field: str) -> np.ndarray | None:
    return flow_array(sample.get(field)) if sample is not None and field in sample else None
