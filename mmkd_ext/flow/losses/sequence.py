"""The loss of a sequence of ever better predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkd_ext.precision import at_least_float32, full_precision
from mmkd_ext.registry import MODELS


def sequence_loss(
    flows: Sequence[Tensor],
    target: Tensor,
    valid: Tensor,
    gamma: float = 0.8,
    max_flow: float = 400.0,
) -> Tensor:
    r"""L1 distance of n predictions, the later the heavier.

    .. math:: L = \sum_{i=1}^n \gamma^{n-i}\, \mathrm{mean}(v\, |f_i - g|)

    The mean goes over all elements, those that are not valid included (with 0), as published: the
    loss of sparse ground truth is small. Source: RAFT, arXiv:2003.12039, equation 7.

    Args:
        flows: n tensors (B, 2, H, W), in pixels.
        target: (B, 2, H, W).
        valid: (B, H, W) bool, where the target is known.
        gamma: Weight of a prediction, in that of the next.
        max_flow: Targets as long as this, in pixels, and longer ones do not count.

    Returns:
        Scalar.

    Raises:
        ValueError: Shapes that do not fit.
    """
    if target.ndim != 4 or target.shape[1] != 2 or valid.shape != target[:, 0].shape:
        raise ValueError(
            "sequence_loss: target is (B, 2, H, W) and valid (B, H, W), not "
            f"{tuple(target.shape)} and {tuple(valid.shape)}"
        )
    wrong = [tuple(flow.shape) for flow in flows if flow.shape != target.shape]
    if wrong or not flows:
        raise ValueError(
            f"sequence_loss: {len(flows)} predictions, which must have the target's shape "
            f"{tuple(target.shape)}, but there is {wrong[0] if wrong else 'none'}"
        )
    # Put so that a target of NaN counts, and shows in the loss.
    valid = (valid & ~(target.norm(dim=1) >= max_flow))[:, None]
    total = target.new_zeros(())
    for flow in flows:
        # Not a product: 0 times infinity is NaN.
        error = torch.where(valid, (flow - target).abs(), 0.0)
        total = gamma * total + error.mean()
    return total


def check_sequence(name: str, gamma: float, max_flow: float) -> None:
    """Raise ``ValueError`` for arguments that make no :func:`sequence_loss`."""
    if not 0 < gamma <= 1 or not max_flow > 0:
        raise ValueError(
            f"{name}: gamma lies above 0 and up to 1, max_flow above 0, not {gamma!r} and "
            f"{max_flow!r}"
        )


@MODELS.register_module()
class SequenceLoss(nn.Module):
    """See :func:`sequence_loss`; in float32 at least, also under autocast.

    Args:
        gamma: 0.8 on FlyingChairs and FlyingThings3D, 0.85 on Sintel and KITTI as published.
        max_flow: In pixels.
        loss_weight: Factor.
    """

    def __init__(
        self, gamma: float = 0.8, max_flow: float = 400.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        check_sequence("SequenceLoss", gamma, max_flow)
        self.gamma, self.max_flow, self.loss_weight = gamma, max_flow, loss_weight

    def forward(self, flows: Sequence[Tensor], target: Tensor, valid: Tensor) -> Tensor:
        """As :func:`sequence_loss`."""
        with full_precision(target):
            flows = [at_least_float32(flow) for flow in flows]
            target = at_least_float32(target)
            loss = sequence_loss(flows, target, valid, self.gamma, self.max_flow)
            return self.loss_weight * loss
