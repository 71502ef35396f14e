"""A training clip: masks from data samples, checked, and how well they were found."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses.bootstrapped_ce import current_iteration


@dataclass(frozen=True)
class Clip:
    """A batch of clips.

    Attributes:
        frames: Normalised images (B, T, 3, H, W).
        ids: Masks (B, T, H, W) int64, 0 = background, 1 .. N.
        valid: (B, N) bool, which objects there are.
        names: Of the clips, for the seeds of their memories.
    """

    frames: Tensor
    ids: Tensor
    valid: Tensor
    names: tuple[str, ...]

    @classmethod
    def of(
        cls, inputs: Tensor, data_samples: Sequence[Any] | None, needs_masks: bool = True
    ) -> Clip:
        """Read the masks of a batch.

        Args:
            inputs: (B, T, 3, H, W), T >= 2.
            data_samples: One a clip.
            needs_masks: False allows that there are none, as in a dry run: a clip then shows one
                object in the middle of its first frame, and images (B, 3, H, W) are clips of two
                equal frames.

        Raises:
            ValueError: Inputs or masks do not fit, or hold ids of no object.
        """
        blank = not needs_masks and not any("gt_masks" in sample for sample in data_samples or ())
        if blank and inputs.ndim == 4:
            inputs = inputs.unsqueeze(1).expand(-1, 2, -1, -1, -1)
        if inputs.ndim != 5 or inputs.shape[1] < 2 or inputs.shape[2] != 3:
            raise ValueError(
                "SWEM is trained on clips (B, T, 3, H, W) of T >= 2 frames, but got "
                f"{tuple(inputs.shape)}; is the pipeline one for testing?"
            )
        if blank:
            return cls._blank(inputs)
        if data_samples is None:
            raise ValueError("SWEM: training needs data samples with gt_masks and valid_objects")
        if len(data_samples) != len(inputs):
            raise ValueError(f"SWEM: {len(data_samples)} data samples for {len(inputs)} clips")
        shape = (inputs.shape[1], *inputs.shape[3:])
        masks, flags = [], []
        for sample in data_samples:
            name = getattr(sample, "video", "?")
            if "gt_masks" not in sample or "valid_objects" not in sample:
                raise ValueError(
                    f"SWEM: the data sample of video {name!r} has no gt_masks or no "
                    "valid_objects, which training needs"
                )
            if tuple(sample.gt_masks.shape) != shape:
                raise ValueError(
                    f"SWEM: gt_masks of video {name!r} are {tuple(sample.gt_masks.shape)}, but "
                    f"its frames (T, H, W) = {shape}"
                )
            masks.append(sample.gt_masks)
            flags.append(sample.valid_objects.bool())
        objects = max(len(flag) for flag in flags)
        valid = torch.stack([F.pad(flag, (0, objects - len(flag))) for flag in flags])
        ids = torch.stack(masks).long()
        names = tuple(
            f"{getattr(sample, 'video', row)}/{getattr(sample, 'frames', '')}"
            for row, sample in enumerate(data_samples)
        )
        clip = cls(inputs, ids.to(inputs.device), valid.to(inputs.device), names)
        clip._check_ids(data_samples)
        return clip

    @classmethod
    def _blank(cls, inputs: Tensor) -> Clip:
        batch, length, _, height, width = inputs.shape
        ids = torch.zeros(batch, length, height, width, dtype=torch.long, device=inputs.device)
        ids[:, :, height // 4 : -(-height * 3 // 4), width // 4 : -(-width * 3 // 4)] = 1
        valid = torch.ones(batch, 1, dtype=torch.bool, device=inputs.device)
        return cls(inputs, ids, valid, tuple(map(str, range(batch))))

    def _check_ids(self, data_samples: Sequence[Any]) -> None:
        channels = F.pad(self.valid, (1, 0), value=True)
        known = (self.ids >= 0) & (self.ids < channels.shape[1])
        rows = torch.arange(len(self.ids), device=self.ids.device).view(-1, 1, 1, 1)
        known &= channels[rows, self.ids.clamp(0, channels.shape[1] - 1)]
        if not known.all():
            row = int((~known).flatten(1).any(dim=1).nonzero()[0])
            found = self.ids[row].unique().tolist()
            wanted = [n for n, there in enumerate(channels[row].tolist()) if there]
            raise ValueError(
                f"SWEM: gt_masks of video {getattr(data_samples[row], 'video', '?')!r} hold ids "
                f"{found}, but its background and valid objects are {wanted}; the transforms must "
                "number the objects of a clip from 1 and drop void pixels"
            )

    @property
    def length(self) -> int:
        """T."""
        return self.frames.shape[1]

    @property
    def channels(self) -> Tensor:
        """(B, N + 1) bool: the background, and which objects there are."""
        return F.pad(self.valid, (1, 0), value=True)

    def seeds(self, seed: int) -> list[int]:
        """One a clip: another for the same clip in another iteration, the same on every rank."""
        when = current_iteration()
        return [seed + zlib.crc32(f"{when}:{name}".encode()) for name in self.names]

    def masks(self, frame: int) -> Tensor:
        """One-hot masks (B, N + 1, H, W) of a frame, in the images' dtype."""
        one_hot = F.one_hot(self.ids[:, frame], self.valid.shape[1] + 1)
        return one_hot.permute(0, 3, 1, 2).to(self.frames.dtype)


@torch.no_grad()
def clip_iou(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean IoU of the objects' hard masks in the predicted frames.

    Args:
        logits: (B, T, N + 1, H, W).
        target: (B, T, H, W).
        valid: (B, N).

    Returns:
        Scalar in [0, 1]; an object that is neither there nor predicted counts 1.
    """
    channels = logits.shape[2]
    found = F.one_hot(logits.argmax(dim=2), channels)[..., 1:].bool()
    truth = F.one_hot(target, channels)[..., 1:].bool()
    overlap = (found & truth).sum(dim=(2, 3)).float()
    union = (found | truth).sum(dim=(2, 3)).float()
    iou = torch.where(union > 0, overlap / union.clamp(min=1), 1.0).mean(dim=1)  # (B, N)
    return (iou * valid).sum() / valid.sum().clamp(min=1)
