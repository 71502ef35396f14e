"""From flow at an eighth of the image size to flow of every pixel."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.optical_flow._utils import upsample_flow
from torchvision.models.optical_flow.raft import MaskPredictor

from mmkd_ext.precision import at_least_float32, full_precision
from mmkd_ext.registry import MODELS


@MODELS.register_module()
class ConvexUpsampler(MaskPredictor):
    """Each pixel's flow is a convex combination of the nine around it, with predicted weights.

    Args:
        in_channels: Of the hidden state; filled in by :class:`~mmkd_ext.flow.models.raft.RAFT`.
        hidden_channels: Of the layer between.
        multiplier: Of the weights before the softmax; it also scales their gradient.
    """

    def __init__(
        self, in_channels: int, hidden_channels: int = 256, multiplier: float = 0.25
    ) -> None:
        super().__init__(
            in_channels=in_channels, hidden_size=hidden_channels, multiplier=multiplier
        )

    def forward(self, flow: Tensor, hidden: Tensor) -> Tensor:
        """Flow (B, 2, h, w) and hidden state (B, C, h, w) to flow (B, 2, 8 h, 8 w)."""
        mask = super().forward(hidden)
        with full_precision(flow):
            return upsample_flow(flow, at_least_float32(mask))


@MODELS.register_module()
class BilinearUpsampler(nn.Module):
    """Bilinear interpolation, corner to corner, as in the small network.

    Args:
        in_channels: Not used; as for :class:`ConvexUpsampler`.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()

    def forward(self, flow: Tensor, hidden: Tensor) -> Tensor:
        """Flow (B, 2, h, w) to flow (B, 2, 8 h, 8 w)."""
        with full_precision(flow):
            return upsample_flow(flow)
