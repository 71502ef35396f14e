"""A folder of one's own videos, to be segmented."""

from __future__ import annotations

from typing import Any

from mmkd_ext.registry import DATASETS
from mmkd_ext.vos.datasets.video import VOSVideoDataset


@DATASETS.register_module()
class FolderVOSDataset(VOSVideoDataset):
    """Videos (image folders or files) with a few masks, none of which is ground truth.

    Test mode is the default. Objects may appear at any time: each begins with the first mask that
    shows its id. Where all frames have masks, use :class:`VOSVideoDataset`.

    Args:
        given: ``'new'`` or ``'first'``, see :class:`VOSVideoDataset`.
        test_mode: As in mmengine; True here.
        **kwargs: Of :class:`VOSVideoDataset`.
    """

    def __init__(self, *, given: str = "new", test_mode: bool = True, **kwargs: Any) -> None:
        kwargs.setdefault("ground_truth", False)
        super().__init__(given=given, test_mode=test_mode, **kwargs)
