"""Image pairs to batches: normalised, and padded to what the network can halve three times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmkd_ext.flow.structures import FlowDataSample
from mmkd_ext.registry import MODELS

Pad = tuple[int, int, int, int]
PAD_MODES = ("sintel", "kitti")


@MODELS.register_module()
class FlowDataPreprocessor(BaseDataPreprocessor):
    """Normalise pairs of RGB images, each (2, 3, H, W) uint8, and make a batch of them.

    Images of several sizes are padded to the largest of each side, and that to a multiple of
    ``pad_size_divisor``, by repeating the border. What was added is noted in the samples as ``pad``
    (left, right, top, bottom); their ground truth stays as it is. Pairs without samples get some.

    Args:
        mean: Of each channel, R, G, B, in 0..255.
        std: Likewise; with the default values the network sees -1 to 1, as RAFT is trained.
        pad_mode: ``'sintel'`` splits the padding between both sides; ``'kitti'`` puts all rows
            below, where the road is.
        pad_size_divisor: Height and width become multiples of it.
        min_size: Sides become at least so long: an instance norm needs more than one pixel.
        noise_std: Range of the standard deviation, in grey levels, of Gaussian noise that is added
            in training, drawn once a batch; the sum is clipped to 0..255. None: no noise.
        non_blocking: Of mmengine's ``BaseDataPreprocessor``.

    Raises:
        ValueError: Inputs of other shapes or dtype.
    """

    _enable_normalize = True  # the Distiller reads it, with mean and std

    def __init__(
        self,
        mean: Sequence[float] = (127.5, 127.5, 127.5),
        std: Sequence[float] = (127.5, 127.5, 127.5),
        pad_mode: Literal["sintel", "kitti"] = "sintel",
        pad_size_divisor: int = 8,
        min_size: int = 16,
        noise_std: Sequence[float] | None = None,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking)
        if pad_mode not in PAD_MODES:
            raise ValueError(
                f"FlowDataPreprocessor: pad_mode is 'sintel' or 'kitti', not {pad_mode!r}"
            )
        if noise_std is not None and not (
            len(noise_std) == 2 and 0 <= noise_std[0] <= noise_std[1]
        ):
            raise ValueError(
                f"FlowDataPreprocessor: noise_std is (lowest, highest), not {noise_std!r}"
            )
        self.pad_mode, self.pad_size_divisor, self.min_size = pad_mode, pad_size_divisor, min_size
        self.noise_std = noise_std
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Pad, normalise and stack ``data['inputs']``, a list of pairs or a stack of them."""
        data = self.cast_data(data)
        pairs = list(data["inputs"])
        self._check(pairs)
        samples = data.get("data_samples") or [FlowDataSample() for _ in pairs]
        pads = self.pads([tuple(pair.shape[2:]) for pair in pairs])
        images = torch.stack(
            [_padded(pair.float(), pad) for pair, pad in zip(pairs, pads, strict=True)]
        )
        if training and self.noise_std is not None:
            low, high = self.noise_std
            std = low + (high - low) * torch.rand((), device=images.device)
            images = (images + std * torch.randn_like(images)).clamp(0, 255)
        for sample, pad in zip(samples, pads, strict=True):
            sample.set_metainfo({"pad": pad})
        return {**data, "inputs": (images - self.mean) / self.std, "data_samples": samples}

    def pads(self, sizes: Sequence[tuple[int, int]]) -> list[Pad]:
        """What is added to images of these sizes (H, W) in one batch: left, right, top, bottom."""
        height, width = (self._side(max(size[axis] for size in sizes)) for axis in (0, 1))
        pads = []
        for own_height, own_width in sizes:
            rows, columns = height - own_height, width - own_width
            top = rows // 2 if self.pad_mode == "sintel" else 0
            pads.append((columns // 2, columns - columns // 2, top, rows - top))
        return pads

    def _side(self, length: int) -> int:
        return -(-max(length, self.min_size) // self.pad_size_divisor) * self.pad_size_divisor

    @staticmethod
    def _check(pairs: Sequence[Tensor]) -> None:
        for pair in pairs:
            if pair.ndim != 4 or pair.shape[:2] != (2, 3) or pair.dtype != torch.uint8:
                raise ValueError(
                    "FlowDataPreprocessor: an item is a pair of RGB images (2, 3, H, W) uint8, but "
                    f"got {tuple(pair.shape)} {pair.dtype}; see PackFlowInputs"
                )


def unpad(flow: Tensor, pad: Pad) -> Tensor:
    """Cut off what padding added to (..., H, W)."""
    left, right, top, bottom = pad
    return flow[..., top : flow.shape[-2] - bottom, left : flow.shape[-1] - right]


def _padded(images: Tensor, pad: Pad) -> Tensor:
    return F.pad(images, pad, mode="replicate") if any(pad) else images
