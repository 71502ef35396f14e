"""Figures of whole videos, whose frames come one by one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmkd_ext.vos.masks import VOID, object_ids
from mmkd_ext.vos.metrics.functional import boundary_f_score, region_similarity

Scores = dict[int, tuple[float, float]]  # id of an object -> J and F in one frame


class VideoMetric(BaseMetric):
    """Collect J and F of each object and frame, and hand over one record a video.

    A record is ``{'video': name, 'objects': {id: {'J': [...], 'F': [...], 'category': str}}}``. The
    lists go over the frames that count: all with ground truth after the one in which the object is
    given (there the answer is known), without the last frame of the video if so configured.

    Records of all processes are gathered as they are: mmengine's own gathering takes turns between
    the processes and cuts the list at the length of the dataset, which suits a result per item.

    Args:
        skip_last: Leave out the last frame of a video.
        void: What 255 in the ground truth means: ``'background'`` (as in DAVIS), or ``'ignore'``
            (those pixels do not count).
        workers: Threads that compute while the next frames are predicted; 0 for none.
        **kwargs: Of mmengine's ``BaseMetric``.
    """

    def __init__(
        self,
        skip_last: bool,
        void: Literal["background", "ignore"] = "background",
        workers: int = 0,
        **kwargs: Any,
    ) -> None:
        if void not in ("background", "ignore"):
            raise ValueError(
                f"{type(self).__name__}: void is 'background' or 'ignore', not {void!r}"
            )
        super().__init__(**kwargs)
        self.skip_last = skip_last
        self.void = void
        self.workers = workers
        self._pool: ThreadPoolExecutor | None = None
        self._video: str | None = None
        self._objects: dict[int, str] = {}  # those that have been given, with their categories
        self._frames: list[Scores | Future] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take the frames of a batch, in their order."""
        for sample in data_samples:
            self.process_frame(sample)

    def process_frame(self, sample: dict) -> None:
        """Take one frame.

        Args:
            sample: The fields of a :class:`mmkd_ext.vos.structures.VOSDataSample` of a frame.

        Raises:
            ValueError: The frame does not follow the one before.
        """
        if sample["is_first"]:
            self._video, self._objects, self._frames = sample["video"], {}, []
        elif sample["video"] != self._video:
            raise ValueError(
                f"{type(self).__name__}: frame {sample['frame']} of video {sample['video']!r} "
                f"comes without the frames before it (last video: {self._video!r}); use "
                "sampler=dict(type='mmkd_ext.VideoFrameSampler')"
            )
        if self._objects and "gt_mask" in sample and not (self.skip_last and sample["is_last"]):
            self._score(_array(sample["pred_mask"]), _array(sample["gt_mask"]))
        categories = sample.get("categories", {})
        for number in object_ids(_array(sample["given_mask"])) if "given_mask" in sample else ():
            self._objects.setdefault(number, categories.get(number, ""))
        if sample["is_last"]:
            self.results.append(self._record())
            self._video = None

    def evaluate(self, size: int) -> dict:
        """Gather the records of all processes and compute the figures, the same in each.

        Args:
            size: Ignored.
        """
        if self._video is not None:
            print_log(
                f"{type(self).__name__}: video {self._video!r} was not finished; it does not count",
                logger="current",
                level=30,
            )
        gathered = [record for part in all_gather_object(self.results) for record in part]
        # By name: sums of floating-point numbers must not depend on who saw which video.
        records = {record["video"]: record for record in gathered}
        metrics = self.compute_metrics([records[name] for name in sorted(records)])
        self.results.clear()
        self._video = None
        return {f"{self.prefix}/{key}": value for key, value in metrics.items()}

    def _score(self, pred: np.ndarray, gt: np.ndarray) -> None:
        job = (pred, gt, tuple(self._objects), self.void == "ignore")
        if not self.workers:
            self._frames.append(frame_scores(*job))
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers)
        self._frames.append(self._pool.submit(frame_scores, *job))

    def _record(self) -> dict:
        frames = [f.result() if isinstance(f, Future) else f for f in self._frames]
        objects = {}
        for number, category in self._objects.items():
            pairs = [scores[number] for scores in frames if number in scores]
            if pairs:
                regions, boundaries = (list(values) for values in zip(*pairs, strict=True))
                objects[number] = {"J": regions, "F": boundaries, "category": category}
        return {"video": self._video, "objects": objects}


def frame_scores(pred: np.ndarray, gt: np.ndarray, ids: Sequence[int], ignore_void: bool) -> Scores:
    """J and F of the objects ``ids`` in one frame; masks (H, W) uint8.

    Raises:
        ValueError: The masks differ in size.
    """
    void = gt == VOID if ignore_void else None
    scores = {}
    for number in ids:
        ours, theirs = pred == number, gt == number
        scores[number] = (
            region_similarity(ours, theirs, void),
            boundary_f_score(ours, theirs, void),
        )
    return scores


def _array(mask: Tensor | np.ndarray) -> np.ndarray:
    return mask.cpu().numpy() if isinstance(mask, Tensor) else mask
