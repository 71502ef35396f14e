"""Pictures of validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd_ext.flow.arrays import to_numpy
from mmkd_ext.flow.structures import FlowDataSample
from mmkd_ext.flow.visualization import FlowVisualizer
from mmkd_ext.registry import HOOKS


@HOOKS.register_module()
class FlowVisualizationHook(Hook):
    """Draw the first pair of every ``interval``-th batch of validation and test.

    The images are those that the model saw. The pictures go to the runner's visualizer, on disk
    ``<work dir>/<time>/vis_data/vis_image/<val or test>_<sequence>_<frame>_<step>.png``, where the
    step is the training iteration. Pairs of the first process are drawn.

    Args:
        draw: False to switch it off.
        interval: In batches; the same ones each time, to be compared.
        max_radius: Length, in pixels, that gets the full colour; None: the longest true vector of
            each pair.
        show: Open a window for each picture as well.
        wait_time: Seconds that it stays; 0: until a key is hit.

    Raises:
        ValueError: ``interval`` is below 1.
    """

    def __init__(
        self,
        draw: bool = True,
        interval: int = 50,
        max_radius: float | None = None,
        show: bool = False,
        wait_time: float = 0.0,
    ) -> None:
        if interval < 1:
            raise ValueError(f"FlowVisualizationHook: interval is 1 or more, not {interval}")
        self.draw = draw
        self.interval = interval
        self.max_radius = max_radius
        self.show = show
        self.wait_time = wait_time

    def before_run(self, runner: Runner) -> None:
        """Make sure that pictures have somewhere to go.

        Raises:
            ValueError: The runner's visualizer cannot draw flow, or keeps nothing.
        """
        if not self.draw:
            return
        visualizer = runner.visualizer
        problem = None
        if not isinstance(visualizer, FlowVisualizer):
            problem = f"{type(visualizer).__name__} cannot draw flow"
        elif not visualizer._vis_backends and not self.show:
            problem = "the visualizer has no backend that keeps pictures"
        if problem:
            raise ValueError(
                f"FlowVisualizationHook: {problem}; set visualizer=dict("
                "type='mmkd_ext.FlowVisualizer', vis_backends=[dict(type='LocalVisBackend')])"
            )

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[FlowDataSample] | None = None,
    ) -> None:
        """Draw, if it is the batch's turn."""
        self._draw(runner, "val", batch_idx, data_batch, outputs)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[FlowDataSample] | None = None,
    ) -> None:
        """Draw, if it is the batch's turn."""
        self._draw(runner, "test", batch_idx, data_batch, outputs)

    def _draw(
        self,
        runner: Runner,
        mode: str,
        batch_idx: int,
        data_batch: Any,
        outputs: Sequence[FlowDataSample] | None,
    ) -> None:
        if not self.draw or not outputs or batch_idx % self.interval or not is_main_process():
            return
        sample = outputs[0]
        images = to_numpy(data_batch["inputs"][0]).transpose(0, 2, 3, 1).astype(np.uint8)
        names = (mode, sample.get("sequence", ""), sample.get("frame", ""))
        runner.visualizer.add_datasample(
            "_".join(str(name).replace("/", "_") for name in names if name),
            images,
            sample,
            show=self.show,
            wait_time=self.wait_time,
            step=runner.iter,
            max_radius=self.max_radius,
        )
