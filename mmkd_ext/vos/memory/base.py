"""What the memories share: the interface, full precision, checked input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

Seeds = int | Sequence[int] | None


class VOSMemory(ABC):
    """The memory of one batch of videos; it has no parameters and is part of no model.

    Everything is computed with autocast off; half precision becomes float32, float64 stays. All
    videos of the batch have the same number of objects, in order of appearance.

    Shapes: B videos, N objects, H x W positions of the key map (stride 16), Ck and Cv channels.

    Args:
        topl: The similarity feature of :meth:`read` has ``2 * topl`` channels.
    """

    def __init__(self, topl: int) -> None:
        self.topl = topl
        self._checked = False

    @property
    def similarity_channels(self) -> int:
        """Channels of the similarity feature."""
        return 2 * self.topl

    @property
    @abstractmethod
    def num_objects(self) -> int:
        """N; 0 before the first frame."""

    @property
    @abstractmethod
    def num_bytes(self) -> int:
        """What the state occupies."""

    @abstractmethod
    def reset(self, seed: Seeds = None) -> None:
        """Forget everything, for another video.

        Args:
            seed: Of what the memory draws at random: one number, or one for each video of the
                batch. None: as given at construction.
        """

    @abstractmethod
    def memorize(self, key: Tensor, value: Tensor, weights: Tensor) -> None:
        """Take in one frame.

        Objects beyond those already known are new; they come after the known ones.

        Args:
            key: (B, Ck, H, W).
            value: (B, N, Cv, H, W).
            weights: (B, N, 2, H, W), see :func:`~mmkd_ext.vos.memory.weights.class_weights`.

        Raises:
            ValueError: Shapes that do not fit, or values that are not finite.
        """

    @abstractmethod
    def read(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """What the memory knows about each position of a frame.

        Args:
            key: (B, Ck, H, W).

        Returns:
            The read-out (B, N, Cv, H, W) and the similarity (B, N, 2 topl, H, W).

        Raises:
            ValueError: Nothing is memorised, or shapes do not fit.
        """

    @abstractmethod
    def remove(self, index: Sequence[int]) -> None:
        """Forget these objects, counted from 0 in order of appearance; the rest move up.

        Raises:
            ValueError: There is no such object.
        """

    def _kept(self, index: Sequence[int]) -> Tensor:
        """The indices that remain."""
        gone = {int(i) for i in index}
        unknown = sorted(gone - set(range(self.num_objects)))
        if unknown:
            raise ValueError(
                f"{type(self).__name__}.remove: there is no object {unknown}; the memory holds "
                f"{self.num_objects}, counted from 0"
            )
        return torch.tensor([i for i in range(self.num_objects) if i not in gone], dtype=torch.long)

    def _check_frame(self, key: Tensor, value: Tensor, weights: Tensor) -> None:
        name = type(self).__name__
        fits = (
            key.ndim == 4
            and value.ndim == weights.ndim == 5
            and (value.shape[0], *value.shape[3:]) == (key.shape[0], *key.shape[2:])
            and weights.shape == (*value.shape[:2], 2, *value.shape[3:])
        )
        if not fits:
            raise ValueError(
                f"{name}.memorize takes key (B, Ck, H, W), value (B, N, Cv, H, W) and weights "
                f"(B, N, 2, H, W), but got {tuple(key.shape)}, {tuple(value.shape)} and "
                f"{tuple(weights.shape)}"
            )
        if value.shape[1] < self.num_objects:
            raise ValueError(
                f"{name}.memorize: {value.shape[1]} objects are given, but {self.num_objects} are "
                "known; give all, and remove() those that are gone"
            )
        # A look at the values stalls an accelerator: there, only at a video's first frame.
        if key.device.type == "cpu" or not self._checked:
            parts = {"key": key, "value": value, "weights": weights}
            finite = torch.stack([part.isfinite().all() for part in parts.values()]).tolist()
            for what, fine in zip(parts, finite, strict=True):
                if not fine:
                    raise ValueError(
                        f"{name}.memorize: the {what} holds NaN or infinity; check the image, the "
                        "model's weights and the precision (float16 overflows at 65504)"
                    )
            self._checked = True

    def _check_query(self, key: Tensor, batch: int | None, channels: int | None) -> None:
        name = type(self).__name__
        if batch is None:
            raise ValueError(f"{name}.read: nothing is memorised yet; memorize a frame first")
        if key.ndim != 4 or key.shape[:2] != (batch, channels):
            raise ValueError(
                f"{name}.read takes a key ({batch}, {channels}, H, W) like those memorised, but "
                f"got {tuple(key.shape)}"
            )


def bytes_of(*tensors: Tensor) -> int:
    """The size of tensors in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
