"""The sizes of a frame, and the way of images, masks and logits between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STRIDE = 16
Size = tuple[int, int]


@dataclass(frozen=True)
class FrameSizes:
    """Heights and widths in pixels.

    Attributes:
        network: Of the image that the network sees, before padding.
        output: Of the masks that come in and go out.
        padded: ``network`` with what is added below and to the right; padding is background.
    """

    network: Size
    output: Size
    padded: Size

    @classmethod
    def of(cls, network: Sequence[int], output: Sequence[int], divisor: int = STRIDE) -> FrameSizes:
        """Sizes with as much padding as makes the network's a multiple of ``divisor``."""
        height, width = (int(n) for n in network)
        padded = -(-height // divisor) * divisor, -(-width // divisor) * divisor
        return cls((height, width), tuple(int(n) for n in output), padded)

    def image(self, image: Tensor) -> Tensor:
        """An image (B, 3, H, W) for the network: stretched (bicubic, not clamped), then padded."""
        if tuple(image.shape[2:]) != self.network:
            image = F.interpolate(image, size=self.network, mode="bicubic", align_corners=False)
        return F.pad(image, self._margin)

    def masks(self, masks: Tensor, mode: str) -> Tensor:
        """Masks (B, N + 1, *output), background first, for the network.

        Args:
            masks: Probabilities, or one-hot.
            mode: ``'nearest'`` or ``'bilinear'``.

        Returns:
            (B, N + 1, *padded).
        """
        if self.network != self.output:
            masks = _resize(masks, self.network, mode)
        if self.padded == self.network:
            return masks
        background = F.pad(masks[:, :1], self._margin, value=1.0)
        return torch.cat([background, F.pad(masks[:, 1:], self._margin)], dim=1)

    def class_masks(self, masks: Tensor) -> Tensor:
        """Masks (B, N + 1, *output) on the grid that class weights are taken from, bilinearly.

        That is the output's, unless there is padding, which only the network's grid has.
        """
        return masks if self.padded == self.network else self.masks(masks, "bilinear")

    def class_channels(self, channels: Tensor) -> Tensor:
        """Numbers of channels (B, 1, *output), 0 for the background, on that grid, by nearest."""
        if self.padded == self.network:
            return channels
        if self.network != self.output:
            channels = _resize(channels, self.network, "nearest")
        return F.pad(channels, self._margin)

    def logits(self, logits: Tensor) -> Tensor:
        """Logits (M, 1, padded / 4) at the output's size, without padding."""
        if self.padded == self.network:
            return _resize(logits, self.output, "bilinear")
        logits = _resize(logits, self.padded, "bilinear")
        logits = logits[..., : self.network[0], : self.network[1]]
        return logits if self.network == self.output else _resize(logits, self.output, "bilinear")

    @property
    def _margin(self) -> tuple[int, int, int, int]:
        below, right = (p - n for p, n in zip(self.padded, self.network, strict=True))
        return 0, right, 0, below


def network_size(
    image: Sequence[int], size: int | Sequence[int] | None, scale: float = 1.0
) -> Size:
    """How large the network sees an image.

    Args:
        image: Height and width of the image.
        size: ``(height, width)``: exactly that, whatever the aspect. A number: the short side is
            scaled to it, or left where it is smaller, and both sides are rounded to a multiple of
            16 (8 and more above a multiple: up), as in testing on YouTube-VOS. None: as it is.
        scale: Factor of that size, for testing at several; the result is rounded down.

    Raises:
        ValueError: Not such a size, or not such a factor.
    """
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not scale > 0:
        raise ValueError(f"scale is a factor above 0, not {scale!r}")
    height, width = _unscaled(image, size)
    return max(int(height * scale), 1), max(int(width * scale), 1)


def _unscaled(image: Sequence[int], size: int | Sequence[int] | None) -> Size:
    height, width = (int(n) for n in image)
    if size is None:
        return height, width
    if isinstance(size, int) and not isinstance(size, bool) and size >= STRIDE:
        short = min(height, width)
        scale = min(size, short) / short
        return tuple(max(int(n * scale + 8) // STRIDE, 1) * STRIDE for n in (height, width))
    if isinstance(size, Sequence) and len(size) == 2 and all(n >= 1 for n in size):
        return int(size[0]), int(size[1])
    raise ValueError(
        f"size is None, (height, width) or the short side in pixels (>= {STRIDE}), not {size!r}"
    )


def _resize(x: Tensor, size: Size, mode: str) -> Tensor:
    if mode == "nearest":
        return F.interpolate(x, size=size, mode=mode)
    return F.interpolate(x, size=size, mode=mode, align_corners=False)
