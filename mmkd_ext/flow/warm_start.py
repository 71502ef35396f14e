"""The flow of one pair of a video as the start for the next."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor


def forward_project(flow: Tensor) -> Tensor:
    """Move each vector to where it points; that is where the next pair's motion begins.

    A pixel gets the vector that arrived nearest to its centre. Vectors that leave the image are
    dropped; where all do, the result is 0. Source: RAFT, arXiv:2003.12039, section 4.1.

    Args:
        flow: (2, h, w), in pixels of that size.

    Returns:
        (2, h, w), of the same device and dtype.
    """
    _, height, width = flow.shape
    u, v = flow.detach().cpu().double().numpy()
    y, x = np.mgrid[:height, :width]
    targets = np.stack([x + u, y + v], axis=-1).reshape(-1, 2)
    inside = ((targets > 0) & (targets < (width, height))).all(axis=1)
    if not inside.any():
        return torch.zeros_like(flow)
    _, nearest = cKDTree(targets[inside]).query(np.stack([x, y], axis=-1).reshape(-1, 2))
    index = torch.from_numpy(np.flatnonzero(inside)[nearest]).to(flow.device)
    return flow.detach().flatten(1)[:, index].view_as(flow)
