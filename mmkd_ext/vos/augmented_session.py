"""Testing at several scales and mirrored: several sessions of one video, and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .session import Ids, VOSSession

if TYPE_CHECKING:
    from .models.network import SWEMNetwork


class AugmentedSession:
    """One video, seen at several sizes and mirrored; used as a :class:`VOSSession` is.

    Each view has a session and a memory of its own, which memorises the view's own predictions.
    Class probabilities are averaged over the views before the largest is taken.

    Args:
        model, size, mem_every, seed, output_size: As of :class:`VOSSession`.
        scales: Factors of the size that the network sees, a view each.
        flip: Each of them mirrored (left and right), too.

    Raises:
        ValueError: What :class:`VOSSession` refuses.
    """

    def __init__(
        self,
        model: SWEMNetwork,
        size: int | Sequence[int] | None = None,
        mem_every: int = 1,
        seed: int = 0,
        output_size: Sequence[int] | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ) -> None:
        self._views = [
            (VOSSession(model, size, mem_every, seed, output_size, scale), mirrored)
            for scale in scales
            for mirrored in ((False, True) if flip else (False,))
        ]
        self._probabilities: Tensor | None = None

    @property
    def frame(self) -> int:
        """The next step's."""
        return self._first.frame

    @property
    def objects(self) -> list[int]:
        """See :attr:`VOSSession.objects`."""
        return self._first.objects

    @property
    def probabilities(self) -> Tensor | None:
        """The mean over the views, see :attr:`VOSSession.probabilities`."""
        return self._probabilities

    @property
    def num_bytes(self) -> int:
        """What all views keep between two frames."""
        last = self._probabilities
        kept = 0 if last is None else last.numel() * last.element_size()
        return kept + sum(session.num_bytes for session, _ in self._views)

    def step(self, image: Tensor, mask: Any = None, last: bool = False) -> Tensor:
        """See :meth:`VOSSession.step`."""
        if mask is not None:
            mask = torch.as_tensor(mask)
        total: Tensor | float = 0.0
        for session, mirrored in self._views:
            if mirrored:
                turned = None if mask is None else mask.flip(-1)
                total = total + session.advance(image.flip(-1), turned, last)[0].flip(-1)
            else:
                total = total + session.advance(image, mask, last)[0]
        self._probabilities = total / len(self._views)
        return self._first.ids[self._probabilities.argmax(dim=0)]

    def remove(self, ids: Ids) -> None:
        """See :meth:`VOSSession.remove`."""
        for session, _ in self._views:
            session.remove(ids)

    @property
    def _first(self) -> VOSSession:
        return self._views[0][0]


Session = VOSSession | AugmentedSession


def open_session(
    model: SWEMNetwork, *, scales: Sequence[float] = (1.0,), flip: bool = False, **options: Any
) -> Session:
    """A session of one view or several.

    Args:
        model: The network.
        scales: See :class:`AugmentedSession`.
        flip: Likewise.
        options: The other arguments of :class:`VOSSession`.

    Raises:
        ValueError: ``scales`` is no list, or what :class:`VOSSession` refuses.
    """
    if isinstance(scales, str) or not isinstance(scales, Sequence) or not scales:
        raise ValueError(f"scales is a list of factors, such as (1.0, 1.25), not {scales!r}")
    if len(scales) == 1 and not flip:
        return VOSSession(model, scale=scales[0], **options)
    return AugmentedSession(model, scales=scales, flip=flip, **options)
