"""The teacher's input: the student's preprocessed batch, re-normalised where the two differ.

The batch is preprocessed (and mixed) once, by the student's data preprocessor. A teacher trained
with another mean, std or channel order gets ``(x * std_s + mean_s - mean_t) / std_t``, channels
flipped in between, and padding that is again the teacher's zero.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .taps import describe


@dataclass(frozen=True)
class InputStats:
    """How a data preprocessor normalises images.

    ``mean`` and ``std`` are floats of length C (or 1) in the units of the raw pixels (0 to 255) and
    in the order of the normalised channels; ``flip`` says whether channels are reversed first (all
    OpenMMLab preprocessors assume images read as BGR).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool

    @classmethod
    def of(cls, preprocessor: nn.Module | None) -> InputStats | None:
        """Read a preprocessor of mmengine, mmpretrain, mmdet or mmseg; None if it has no stats."""
        if preprocessor is None or not hasattr(preprocessor, "_enable_normalize"):
            return None
        flags = ("_channel_conversion", "channel_conversion", "to_rgb")
        flip = any(bool(getattr(preprocessor, name, False)) for name in flags)
        if not preprocessor._enable_normalize:
            return cls((0.0,), (1.0,), flip)
        mean, std = (getattr(preprocessor, name).flatten().tolist() for name in ("mean", "std"))
        return cls(tuple(mean), tuple(std), flip)


def renormalize(
    inputs: Any,
    student: InputStats | None,
    teacher: InputStats | None,
    data_samples: Sequence[Any] | None = None,
) -> Any:
    """The student's batch as the teacher wants it.

    Args:
        inputs: ``(N, C, H, W)``, or clips ``(N, T, C, H, W)``, as the student's preprocessor left
            them. Anything else can only be passed on unchanged.
        student: How it was normalised.
        teacher: How the teacher was trained. ``None`` on either side: pass on unchanged.
        data_samples: Their ``img_shape`` tells where padding begins.

    Returns:
        ``inputs`` itself if nothing differs, otherwise a new tensor of the same shape and dtype.

    Raises:
        TypeError: The statistics differ and ``inputs`` is not an image batch.
    """
    if student is None or teacher is None or student == teacher:
        return inputs
    if not isinstance(inputs, Tensor) or inputs.ndim not in (4, 5):
        raise TypeError(
            f"student and teacher normalise their input differently ({student} and {teacher}), "
            f"which can be translated for images (N, C, H, W) and clips (N, T, C, H, W) only, not "
            f"for {describe(inputs)}; give both the same data_preprocessor"
        )
    images = inputs.float()
    flip = student.flip != teacher.flip and images.shape[-3] == 3
    if flip:
        images = images.flip(-3)
    scale, shift = _scale_and_shift(student, teacher, flip, inputs.device)
    images = images * scale + shift
    _zero_padding(images, data_samples)
    return images.to(inputs.dtype)


@functools.lru_cache(maxsize=32)
def _scale_and_shift(
    student: InputStats, teacher: InputStats, flip: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    """``(x * std_s + mean_s - mean_t) / std_t`` as one product and sum, (1, C or 1, 1, 1) each.

    Kept per device: made anew each step, the copy to a GPU would wait for the device.
    """
    mean_s, std_s, mean_t, std_t = (
        torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)
        for values in (student.mean, student.std, teacher.mean, teacher.std)
    )
    if flip:
        mean_s, std_s = mean_s.flip(1), std_s.flip(1)
    pair = std_s / std_t, (mean_s - mean_t) / std_t
    return tuple(tensor.to(device=device, dtype=torch.float32) for tensor in pair)


def _zero_padding(images: Tensor, data_samples: Sequence[Any] | None) -> None:
    """Both preprocessors pad after normalising, so padding is 0 to both; restore that."""
    size = tuple(images.shape[-2:])
    for image, sample in zip(images, data_samples or (), strict=False):
        shape = tuple(getattr(sample, "img_shape", size))[:2]
        if shape != size:
            image[..., shape[0] :, :] = 0
            image[..., shape[1] :] = 0
