"""The ground truth of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def stack_truth(data_samples: Sequence[Any] | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """The true flow of a batch, padded as its images were.

    Args:
        data_samples: B of :class:`~mmkd_ext.flow.structures.FlowDataSample`.
        like: (B, 2, H, W), whose size, device and dtype are wanted.

    Returns:
        Flow (B, 2, H, W), and where it is known, (B, H, W) bool: not in the padding.

    Raises:
        ValueError: A sample without ground truth, or of another size.
    """
    flows, valids = [], []
    for number, sample in enumerate(data_samples or [None] * len(like)):
        if sample is None or "gt_flow" not in sample or "gt_valid" not in sample:
            raise ValueError(
                f"item {number} of the batch has no ground truth (gt_flow, gt_valid): training "
                "needs a dataset with flow files, and LoadFlowAnnotations in its pipeline; that of "
                "pairs which only a teacher labels has UnknownFlow there"
            )
        pad = sample.get("pad", (0, 0, 0, 0))
        flow = F.pad(sample.gt_flow.to(like), pad)
        if flow.shape != like.shape[1:]:
            raise ValueError(
                f"item {number} of the batch: ground truth of {tuple(sample.gt_flow.shape[1:])} "
                f"with padding {tuple(pad)} does not fit images of {tuple(like.shape[2:])}"
            )
        flows.append(flow)
        valids.append(F.pad(sample.gt_valid.to(like.device), pad))
    return torch.stack(flows), torch.stack(valids)
