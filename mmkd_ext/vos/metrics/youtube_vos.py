"""The figures of YouTube-VOS, and the archive that its server takes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from mmkd_ext.atomic_file import replacing
from mmkd_ext.registry import METRICS
from mmkd_ext.vos.masks import YOUTUBE_VOS_PALETTE, write_mask
from mmkd_ext.vos.metrics.sequence import VideoMetric, _array

GROUPS = ("seen", "unseen")


@METRICS.register_module()
class YouTubeVOSMetric(VideoMetric):
    """G = (J_seen + F_seen + J_unseen + F_unseen) / 4, in 0..1, or an archive to hand in.

    Seen are objects of categories that the training set has. Within a group every object has the
    same weight; that the server weighs so, too, is not documented. Frames after an object's first
    count, the last one included, as far as they have ground truth.

    The ground truth of the public validation set is secret: there, set ``format_only``.

    Keys: ``ytvos/G``, ``J_seen``, ``F_seen``, ``J_unseen``, ``F_unseen``; nothing with
    ``format_only``.

    Args:
        seen: Categories of the training set, or the path of its ``meta.json``.
        format_only: Write the predictions and no figures.
        outfile_prefix: ``<outfile_prefix>/Annotations/<video>/<frame>.png`` and
            ``<outfile_prefix>.zip`` are written; all processes must see this folder.
        workers: Threads that compute the figures; 0 for none.
        **kwargs: Of mmengine's ``BaseMetric``.

    Raises:
        ValueError: ``format_only`` without ``outfile_prefix``; figures without ``seen``, or where a
            group has no object with ground truth.
    """

    default_prefix = "ytvos"

    def __init__(
        self,
        seen: Sequence[str] | str | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        workers: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(skip_last=False, workers=workers, **kwargs)
        if format_only and not outfile_prefix:
            raise ValueError("YouTubeVOSMetric: format_only needs outfile_prefix, a folder to fill")
        if not format_only and seen is None:
            raise ValueError(
                "YouTubeVOSMetric: which categories are seen? seen='.../train/meta.json', or a "
                "list; or format_only=True where there is no ground truth"
            )
        self.seen = categories_of(seen) if isinstance(seen, str) else set(seen or ())
        self.format_only = format_only
        self._written: list[str] = []  # frames of the video at hand
        self.outfile_prefix = Path(outfile_prefix) if outfile_prefix else None

    def process_frame(self, sample: dict) -> None:
        """Take one frame, and write its mask where it is to be handed in."""
        if sample["is_first"]:
            self._written = []
        if self.outfile_prefix is not None and sample.get("save", True):
            palette = (self.dataset_meta or {}).get("palette") or YOUTUBE_VOS_PALETTE
            name = f"Annotations/{sample['video']}/{sample['frame']}.png"
            write_mask(self.outfile_prefix / name, _array(sample["pred_mask"]), palette)
            self._written.append(name)
        super().process_frame(sample)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures of the records of all videos; the archive is written, too."""
        if self.outfile_prefix is not None:
            self._zip(results)
        if self.format_only:
            return {}
        groups: dict[str, list[tuple[float, float]]] = {group: [] for group in GROUPS}
        for record in results:
            for scores in record["objects"].values():
                group = "seen" if scores["category"] in self.seen else "unseen"
                groups[group].append((np.mean(scores["J"]), np.mean(scores["F"])))
        empty = [group for group in GROUPS if not groups[group]]
        if empty:
            raise ValueError(
                f"YouTubeVOSMetric: no object with ground truth is {' or '.join(empty)}; "
                f"the seen categories are {sorted(self.seen)}. For J and F without groups there is "
                "DAVISMetric."
            )
        figures = {}
        for group in GROUPS:
            for kind, mean in zip("JF", np.mean(groups[group], axis=0), strict=True):
                figures[f"{kind}_{group}"] = float(mean)
        return {"G": sum(figures.values()) / 4, **figures}

    def _record(self) -> dict:
        return {**super()._record(), "written": self._written}

    def _zip(self, results: Sequence[dict]) -> None:
        barrier()  # until every process has written its videos
        if not is_main_process():
            return
        archive = self.outfile_prefix.with_name(self.outfile_prefix.name + ".zip")
        with (
            replacing(archive) as draft,
            zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as file,  # PNGs are compressed already
        ):
            for record in results:
                for name in record["written"]:
                    file.write(self.outfile_prefix / name, name)
        print_log(f"YouTubeVOSMetric: to hand in: {archive}", logger="current")


def categories_of(meta_file: str | Path) -> set[str]:
    """The categories in a ``meta.json``.

    Raises:
        ValueError: There is no such file.
    """
    if not Path(meta_file).is_file():
        raise ValueError(f"YouTubeVOSMetric: there is no {meta_file} to take seen categories from")
    videos = json.loads(Path(meta_file).read_text(encoding="utf-8"))["videos"]
    return {c["category"] for video in videos.values() for c in video["objects"].values()}
