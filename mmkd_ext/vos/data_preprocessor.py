"""Clips and frames to batches: normalised once, stacked, padded only where a batch needs it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmkd_ext.registry import MODELS
from mmkd_ext.vos.structures import VOSDataSample


@MODELS.register_module()
class VOSDataPreprocessor(BaseDataPreprocessor):
    """Normalise RGB images and make a batch of them.

    * Clips, each (T, 3, H, W) uint8 with equal T: padded at the right and at the bottom to the
      largest of the batch and to a multiple of ``pad_size_divisor``; images with 0 (the mean),
      masks with background. Result (B, T, 3, H', W').
    * Frames of videos that are tested, each (3, H, W) uint8 of one size: not padded, since the
      session resizes and pads. Result (B, 3, H, W).

    The size without padding is added to a clip's sample as ``img_shape`` (H, W).

    Args:
        mean: Of each channel, R, G, B, in 0..255.
        std: Likewise.
        pad_size_divisor: Height and width of clips become multiples of it.
        **kwargs: Of mmengine's ``BaseDataPreprocessor``.

    Raises:
        ValueError: Inputs of other shapes, or of several shapes where these must be equal.
    """

    _enable_normalize = True  # the Distiller reads it, with mean and std

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        pad_size_divisor: int = 16,
        **kwargs: bool,
    ) -> None:
        super().__init__(**kwargs)
        self.pad_size_divisor = pad_size_divisor
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise and stack ``data['inputs']``, a list of images or clips."""
        data = self.cast_data(data)
        inputs, samples = data["inputs"], data.get("data_samples")
        if isinstance(inputs, Tensor):
            inputs = list(inputs)
        self._check(inputs)
        images = [self.normalize(image) for image in inputs]
        if images[0].ndim == 4:
            images = self._pad(images, samples)
        return {**data, "inputs": torch.stack(images)}

    def normalize(self, image: Tensor) -> Tensor:
        """One image or clip, (..., 3, H, W) of 0..255, as the network wants it; float32."""
        return (image.to(self.mean.device).float() - self.mean) / self.std

    def _pad(self, clips: list[Tensor], samples: Sequence[VOSDataSample] | None) -> list[Tensor]:
        height, width = (
            -(-max(clip.shape[axis] for clip in clips) // self.pad_size_divisor)
            * self.pad_size_divisor
            for axis in (-2, -1)
        )
        padded = []
        for index, clip in enumerate(clips):
            shape = tuple(clip.shape[-2:])
            margin = (0, width - shape[1], 0, height - shape[0])
            padded.append(F.pad(clip, margin) if any(margin) else clip)
            if samples is None:
                continue
            samples[index].set_metainfo({"img_shape": shape})
            if any(margin) and "gt_masks" in samples[index]:
                samples[index].gt_masks = F.pad(samples[index].gt_masks, margin)
        return padded

    @staticmethod
    def _check(inputs: Sequence[Tensor]) -> None:
        shapes = [tuple(image.shape) for image in inputs]
        frames = all(len(shape) == 3 for shape in shapes) and len(set(shapes)) == 1
        clips = all(len(shape) == 4 for shape in shapes) and len({s[0] for s in shapes}) == 1
        if not (frames or clips) or any(shape[-3] != 3 for shape in shapes):
            raise ValueError(
                "VOSDataPreprocessor: a batch is clips (T, 3, H, W) of equal T or frames (3, H, W) "
                f"of one size, but got {shapes}"
            )
