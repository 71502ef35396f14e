"""Predicted masks as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd_ext.registry import HOOKS
from mmkd_ext.vos.masks import write_mask
from mmkd_ext.vos.structures import VOSDataSample


@HOOKS.register_module()
class VOSDumpHook(Hook):
    """Write what is predicted in tests as indexed PNGs, ``<out_dir>/<video>/<frame>.png``.

    The palette is that of the dataset.

    Args:
        out_dir: Folder; ``masks`` in the run's log folder by default.
        all_frames: Also the frames that are not to be handed in (YouTube-VOS).
    """

    def __init__(self, out_dir: str | None = None, all_frames: bool = True) -> None:
        self.out_dir = out_dir
        self.all_frames = all_frames

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[VOSDataSample] | None = None,
    ) -> None:
        """Write the masks of a batch."""
        folder = Path(self.out_dir or Path(runner.log_dir) / "masks")
        palette = runner.test_dataloader.dataset.metainfo.get("palette")
        for sample in outputs or ():
            if self.all_frames or sample.get("save", True):
                path = folder / sample.video / f"{sample.frame}.png"
                write_mask(path, sample.pred_mask.cpu().numpy(), palette)
