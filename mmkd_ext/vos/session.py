"""One video, frame after frame: objects appear, are followed, and go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

from .frame_sizes import STRIDE, FrameSizes, network_size
from .masks import SLACK, VOID
from .objects import ObjectIndex

if TYPE_CHECKING:
    from .models.network import SWEMNetwork

Ids = int | Sequence[int]


class VOSSession:
    """Follows the objects of one video; what it keeps does not grow with the video.

    Args:
        model: The network, in eval mode. It keeps nothing of the video.
        size: How large the network sees the frames, see
            :func:`~mmkd_ext.vos.frame_sizes.network_size`; predictions come at ``output_size``.
            Sizes that are no multiple of 16 are padded.
        mem_every: Memorise every so many frames. A frame with new objects always is.
        seed: Of the memory's initial keys.
        output_size: Height and width of the masks; None: as the images are.
        scale: Factor of the size that the network sees.

    Raises:
        ValueError: ``mem_every`` below 1, or what is no size or factor.
    """

    def __init__(
        self,
        model: SWEMNetwork,
        size: int | Sequence[int] | None = None,
        mem_every: int = 1,
        seed: int = 0,
        output_size: Sequence[int] | None = None,
        scale: float = 1.0,
    ) -> None:
        if not isinstance(mem_every, int) or mem_every < 1:
            raise ValueError(f"VOSSession: mem_every must be an integer >= 1, not {mem_every!r}")
        network_size((STRIDE, STRIDE), size, scale)
        self.model = model
        self.size, self.mem_every, self.output_size = size, mem_every, output_size
        self.scale = scale
        self.memory = model.new_memory(seed)
        self.frame = 0  # of the next step
        self._objects: list[int] = []
        self._ids: Tensor | None = None  # the same, background first, to look up
        self._sizes: FrameSizes | None = None
        self._image_size: tuple[int, int] | None = None
        self._probabilities: Tensor | None = None
        self._over = False

    @property
    def objects(self) -> list[int]:
        """The ids that are followed, in order of appearance."""
        return list(self._objects)

    @property
    def ids(self) -> Tensor:
        """Of the channels of ``probabilities``, 0 for the background: (N + 1,) uint8."""
        if self._ids is None:  # kept: the copy to an accelerator would wait for it every frame
            device = next(self.model.parameters()).device
            self._ids = torch.tensor([0, *self._objects], dtype=torch.uint8, device=device)
        return self._ids

    @property
    def probabilities(self) -> Tensor | None:
        """Of the last step, (N + 1, H, W): the background, then ``objects`` as they were then."""
        return self._probabilities

    @property
    def num_bytes(self) -> int:
        """What the session keeps between two frames."""
        last = self._probabilities
        return self.memory.num_bytes + (0 if last is None else last.numel() * last.element_size())

    @torch.no_grad()
    def step(self, image: Tensor, mask: Any = None, last: bool = False) -> Tensor:
        """Take the next frame.

        Args:
            image: (3, H, W) float, in the network's normalisation.
            mask: (H, W) ids of objects that appear here, 0 and 255 = nothing said. Ids that are
                followed already are not looked at. A mask up to two pixels larger or smaller than
                the output is resized by nearest neighbour.
            last: No further frame follows: nothing is memorised.

        Returns:
            (H, W) uint8, the object at each pixel, 0 = background, of ``output_size``, on the
            model's device. Where a new object was given, it is that object.

        Raises:
            ValueError: Image or mask do not fit, or the last frame was taken already.
        """
        self._probabilities, channels = self.advance(image, mask, last)
        return self.ids[channels]

    def advance(self, image: Tensor, mask: Any, last: bool) -> tuple[Tensor, Tensor]:
        """As :meth:`step`, but the result is not kept.

        Returns:
            Probabilities (N + 1, H, W), background first, and the largest's channel (H, W).
        """
        image = self._prepared(image)
        sizes = self._sizes
        new_ids, new_masks = self._new_objects(mask, image.device)
        known = len(self._objects)
        frame, self.frame, self._over = self.frame, self.frame + 1, last
        probabilities = image.new_ones(1, 1, *sizes.output)
        features = None
        if known or new_ids:
            image = sizes.image(image)
            features = self.model.encode(image)
        if known:
            index = ObjectIndex(1, known)
            logits = self.model.segment(features, self.memory, sizes, index)
            probabilities = logits.softmax(dim=1)
        if new_ids:
            free = ~new_masks.any(dim=0)
            new = new_masks.unsqueeze(0).to(probabilities.dtype)
            probabilities = torch.cat([probabilities * free, new], dim=1)
            self._objects, self._ids = self._objects + new_ids, None
        channels = probabilities.argmax(dim=1)
        if self._objects and not last and (new_ids or frame % self.mem_every == 0):
            index = ObjectIndex(1, len(self._objects))
            self.model.memorize(
                self.memory, image, features, probabilities, channels, sizes, index, known == 0
            )
        return probabilities[0], channels[0]

    def remove(self, ids: Ids) -> None:
        """Follow these objects no longer; their pixels are free for the others.

        Raises:
            ValueError: An id that is not followed.
        """
        ids = torch.as_tensor(ids).flatten().tolist()
        unknown = sorted(set(ids) - set(self._objects))
        if unknown:
            raise ValueError(
                f"VOSSession.remove: no object {unknown} is followed; there is {self._objects}"
            )
        if self.memory.num_objects:
            self.memory.remove([self._objects.index(one) for one in ids])
        self._objects, self._ids = [one for one in self._objects if one not in ids], None

    def _prepared(self, image: Tensor) -> Tensor:
        """The image as (1, 3, H, W) in the model's dtype, on its device; its sizes."""
        if self._over:
            raise ValueError(
                "VOSSession.step: the last frame was taken already; begin another session"
            )
        if self.model.training:
            raise ValueError("VOSSession: the model is in training mode; call model.eval() first")
        if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3:
            got = tuple(image.shape) if hasattr(image, "shape") else type(image).__name__
            raise ValueError(f"VOSSession.step: the image is a tensor (3, H, W), not {got}")
        if not image.is_floating_point():
            raise ValueError(
                f"VOSSession.step: the image is {image.dtype}; normalise it as the network's "
                "data preprocessor does"
            )
        size = tuple(image.shape[1:])
        if self._sizes is None:
            self._image_size = size
            seen = network_size(size, self.size, self.scale)
            self._sizes = FrameSizes.of(seen, self.output_size or size)
        if size != self._image_size:
            raise ValueError(
                f"VOSSession.step: frame {self.frame} is {size}, but the first was "
                f"{self._image_size}; frames of a video have one size"
            )
        return image.unsqueeze(0).to(next(self.model.parameters()))

    def _new_objects(self, mask: Any, device: torch.device) -> tuple[list[int], Tensor | None]:
        """Ids that were not there before, ascending, and their masks (n, H, W) bool."""
        if mask is None:
            return [], None
        mask = torch.as_tensor(mask).to(device)
        if mask.ndim != 2 or mask.is_floating_point() or mask.dtype == torch.bool:
            raise ValueError(
                f"VOSSession.step: the mask is (H, W) of integer ids, not {mask.dtype} of shape "
                f"{tuple(mask.shape)}"
            )
        mask = self._fitted(mask.long())
        found = mask.unique().tolist()
        if found[0] < 0 or found[-1] > VOID:
            raise ValueError(f"VOSSession.step: ids are 1 to 254, but the mask holds {found}")
        if VOID in found and not set(found) - {0, VOID}:
            raise ValueError(
                f"VOSSession.step: the mask of frame {self.frame} holds nothing but 0 and {VOID}, "
                "which is void and no object; is it a binary mask? Turn it into ids 0 and 1"
            )
        new = [one for one in found if one not in (0, VOID, *self._objects)]
        if not new:
            return [], None
        return new, mask == torch.tensor(new, device=device).view(-1, 1, 1)

    def _fitted(self, mask: Tensor) -> Tensor:
        """The mask at the output's size."""
        size, wanted = tuple(mask.shape), self._sizes.output
        if size == wanted:
            return mask
        if any(abs(own - other) > SLACK for own, other in zip(size, wanted, strict=True)):
            raise ValueError(
                f"VOSSession.step: the mask of frame {self.frame} is {size}, but predictions are "
                f"{wanted}; give masks of the frames' size, or output_size"
            )
        print_log(
            f"VOSSession: the mask of frame {self.frame} is {size}, not {wanted}; resized by "
            "nearest neighbour",
            logger="current",
            level=30,
        )
        return F.interpolate(mask[None, None].float(), size=wanted)[0, 0].long()
