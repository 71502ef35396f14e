"""What the losses of a clip share: shapes, and channels that stand for no object."""

from __future__ import annotations

from torch import Tensor


def check_clip(name: str, logits: Tensor, target: Tensor, valid: Tensor | None) -> None:
    """Raise ``ValueError`` unless shapes fit: (B, T, C, H, W), (B, T, H, W) and (B, C)."""
    fits = logits.ndim == 5 and target.shape == (*logits.shape[:2], *logits.shape[3:])
    fits = fits and (valid is None or valid.shape == (logits.shape[0], logits.shape[2]))
    if not fits:
        flags = "None" if valid is None else tuple(valid.shape)
        raise ValueError(
            f"{name} takes logits (B, T, C, H, W), a target (B, T, H, W) and valid (B, C), but got "
            f"{tuple(logits.shape)}, {tuple(target.shape)} and {flags}"
        )


def valid_logits(logits: Tensor, valid: Tensor | None) -> Tensor:
    """Logits (B, T, C, H, W) with -inf in the channels (B, C) that are not valid.

    The softmax over all channels is then that over the valid ones.
    """
    if valid is None:
        return logits
    return logits.masked_fill(~valid[:, None, :, None, None], float("-inf"))
