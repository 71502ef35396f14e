"""Mean, recall and decay of a figure over the frames of a video (Perazzi et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RECALL_THRESHOLD = 0.5


class Statistics(NamedTuple):
    """Statistics of one object.

    Attributes:
        mean: Mean over the frames.
        recall: Share of the frames whose figure is above 0.5.
        decay: Mean of the first quarter of the frames minus that of the last.
    """

    mean: float
    recall: float
    decay: float


def statistics(values: Sequence[float]) -> Statistics:
    """Statistics of the figures of consecutive frames.

    The official tool's quarters overlap by one frame. It counts frames in 8 bits, hence is wrong
    above 256 of them; this is right for any number.

    Raises:
        ValueError: There are no values.
    """
    if not len(values):
        raise ValueError("statistics: no frames to take a mean of")
    figures = np.asarray(values, dtype=np.float64)
    # The small summand makes halves round up as the official tool has it.
    bounds = np.round(np.linspace(1, len(figures), 5) + 1e-10).astype(int) - 1
    first, last = (figures[bounds[i] : bounds[i + 1] + 1].mean() for i in (0, 3))
    recall = (figures > RECALL_THRESHOLD).mean()
    return Statistics(float(figures.mean()), float(recall), float(first - last))
