"""Weights and images that need no file, to compare networks whose figures are known."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

HEIGHT, WIDTH = 128, 160


def fill(network: nn.Module) -> nn.Module:
    """Give every parameter a value that its shape alone decides.

    Kernels get ``u sqrt(12 / fan_in)``, u from a multiplicative hash of the element's place; norms'
    weights 1; everything else 0.
    """
    for name, parameter in network.named_parameters():
        if parameter.ndim == 4:
            index = np.arange(parameter.numel(), dtype=np.int64)
            u = ((index * 2654435761 + 12345) % 2**32) / 2**32 - 0.5
            values = u * np.sqrt(12 / np.prod(parameter.shape[1:]))
            parameter.data.copy_(torch.from_numpy(values.reshape(parameter.shape)))
        elif parameter.ndim == 1:
            parameter.data.fill_(1.0 if name.endswith("weight") else 0.0)
    return network


def made_pair(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """Two images of 0..255, (2, 3, H, W) float64; the second shows the first, moved by (3, 1)."""
    y, x = np.mgrid[:height, :width].astype(np.float64)

    def image(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        return [
            127.5
            + 60 * np.sin(0.23 * x + 0.11 * y + c)
            + 40 * np.sin(0.07 * x - 0.31 * y + 2 * c)
            + 20 * np.sin(0.53 * x + 0.47 * y + 3 * c)
            for c in range(3)
        ]

    return torch.from_numpy(np.array([image(x, y), image(x - 3, y - 1)]))


def normalized(pair: Tensor) -> Tensor:
    """As RAFT wants it, a batch of one, (1, 2, 3, H, W) float32."""
    return (pair / 127.5 - 1).float()[None]


def figures(flow: Tensor) -> list[float]:
    """Mean EPE to (3, 1), mean u and v, (u, v) at two places, and the largest value.

    Args:
        flow: (2, H, W).
    """
    error = (flow - torch.tensor([3.0, 1.0])[:, None, None]).norm(dim=0).mean()
    places = [flow[:, 64, 80], flow[:, 20, 130]]
    return [
        error.item(), *flow.mean(dim=(1, 2)).tolist(), *places[0].tolist(), *places[1].tolist(),
        flow.abs().max().item(),
    ]  # fmt: skip
