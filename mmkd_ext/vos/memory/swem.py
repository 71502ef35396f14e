"""The memory of SWEM: a fixed number of bases for each object, however long the video."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkd_ext.precision import at_least_float32, full_precision
from mmkd_ext.registry import MODELS

from .base import Seeds, VOSMemory, bytes_of
from .em import Bases, fresh_bases, read_bases, unit, weighted_em

CLASSES = 2  # background and foreground, of each object


@MODELS.register_module()
class SWEMMemory(VOSMemory):
    """Two banks of bases, merged frame by frame by :func:`~mmkd_ext.vos.memory.em.weighted_em`.

    ``first`` holds the bases of each object's first frame and stays as it is. ``update`` is absent
    until a second frame comes; each later frame is merged into ``update`` (or, the first time, into
    ``first``) and the result takes its place. What is read are both banks together.

    ``kappa`` (B, N, 2, Ck, K), ``nu`` (B, N, 2, Cv, K) and ``zeta`` (B, N, 2, 1, K) are those of
    the *current* state, from which the next frame starts: of ``update``, or of ``first`` as long as
    there is no other; None before the first frame. Class 0 is the background.

    New objects start from random unit keys. Those are drawn by a CPU generator of their own for
    each video, in float32, so that they depend on the seed and the order of appearance alone, not
    on device, rank or what else is in the batch.

    Args:
        num_bases: K, bases for each class and bank.
        iters: R, EM iterations a frame.
        tau: Temperature.
        topl: Length of the similarity feature of each class, at most K.
        adaptive_ratio, weight_topk: See :func:`~mmkd_ext.vos.memory.em.weighted_em`. 0.5 and 5 are
            the weights of the first public code.
        seed: Of the initial keys: one number, or one for each video of the batch. None draws from
            torch's global CPU generator.
    """

    def __init__(
        self,
        num_bases: int = 128,
        iters: int = 4,
        tau: float = 0.05,
        topl: int = 64,
        adaptive_ratio: float = 1.0,
        weight_topk: int | None = None,
        seed: Seeds = None,
    ) -> None:
        _check_options(num_bases, iters, tau, topl, adaptive_ratio, weight_topk)
        super().__init__(min(topl, num_bases))
        self.num_bases, self.iters, self.tau = num_bases, iters, tau
        self.adaptive_ratio, self.weight_topk = adaptive_ratio, weight_topk
        self.seed = seed
        self.reset()

    def reset(self, seed: Seeds = None) -> None:
        """See :meth:`VOSMemory.reset`."""
        seed = self.seed if seed is None else seed
        self._generators: list[torch.Generator] | None = None
        if seed is not None:
            seeds = [seed] if isinstance(seed, int) else list(seed)
            self._generators = [torch.Generator().manual_seed(int(one)) for one in seeds]
        self.first: Bases | None = None
        self.update: Bases | None = None
        self._given: Tensor | None = None
        self._checked = False

    @property
    def num_objects(self) -> int:
        """See :attr:`VOSMemory.num_objects`."""
        return 0 if self._current is None else self._current.num_objects

    @property
    def num_bytes(self) -> int:
        """See :attr:`VOSMemory.num_bytes`."""
        banks = [bases for bases in (self.first, self.update) if bases is not None]
        return bytes_of(*(part for bases in banks for part in bases))

    @property
    def kappa(self) -> Tensor | None:
        """Keys of the current state (B, N, 2, Ck, K)."""
        return None if self._current is None else self._current.kappa

    @property
    def nu(self) -> Tensor | None:
        """Values of the current state (B, N, 2, Cv, K)."""
        return None if self._current is None else self._current.nu

    @property
    def zeta(self) -> Tensor | None:
        """Evidence of the current state (B, N, 2, 1, K)."""
        return None if self._current is None else self._current.zeta

    @property
    def _current(self) -> Bases | None:
        return self.first if self.update is None else self.update

    def init(self, kappa: Tensor) -> None:
        """Give the initial keys of objects to come, instead of random ones.

        The next :meth:`memorize` takes as many as it has new objects; what remains serves the
        objects after them.

        Args:
            kappa: (B, n, 2, Ck, K), for the next n objects; or for all N, known ones included.

        Raises:
            ValueError: Not of this shape.
        """
        shape = tuple(kappa.shape)
        if kappa.ndim != 5 or (shape[2], shape[4]) != (CLASSES, self.num_bases):
            raise ValueError(
                f"SWEMMemory.init takes keys (B, N, {CLASSES}, Ck, {self.num_bases}), but got "
                f"{shape}"
            )
        self._given = kappa

    def remove(self, index: Sequence[int]) -> None:
        """See :meth:`VOSMemory.remove`."""
        kept = self._kept(index)
        self.first = None if self.first is None else self.first.select(kept)
        self.update = None if self.update is None else self.update.select(kept)

    def memorize(self, key: Tensor, value: Tensor, weights: Tensor) -> None:
        """See :meth:`VOSMemory.memorize`."""
        self._check_frame(key, value, weights)
        key, value, weights = (at_least_float32(tensor) for tensor in (key, value, weights))
        channels, value_channels = key.shape[1], value.shape[2]
        if self._current is not None:
            known = self._current
            wanted = known.kappa.shape[0], known.kappa.shape[3], known.nu.shape[3]
            if (len(key), channels, value_channels) != wanted:
                raise ValueError(
                    "SWEMMemory.memorize: the memory was filled with (B, Ck, Cv) = "
                    f"{wanted}, but got {(len(key), channels, value_channels)}; reset() it first"
                )
        with full_precision(key):
            prior, known = self._current, self.num_objects
            if value.shape[1] > known or prior is None:
                new = self._new(value.shape[1] - known, key, value_channels)
                prior = new if prior is None else prior.append(new)
            result = weighted_em(
                prior,
                key.flatten(2),
                value.flatten(3),
                weights.flatten(3).to(key.dtype),
                self.iters,
                self.tau,
                self.adaptive_ratio,
                self.weight_topk,
            )
        if self.first is None:
            self.first = result
            return
        appeared = torch.arange(known, result.num_objects)
        self.first = self.first.append(result.select(appeared)) if len(appeared) else self.first
        self.update = result

    def read(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`VOSMemory.read`."""
        state = self._current
        batch, channels = (None, None) if state is None else state.kappa.shape[0:4:3]
        self._check_query(key, batch, channels)
        key = at_least_float32(key)
        with full_precision(key):
            readout, similarity = read_bases(self._templates(), key.flatten(2), self.tau, self.topl)
        return readout.unflatten(3, key.shape[2:]), similarity.unflatten(3, key.shape[2:])

    def _templates(self) -> Bases:
        """Both banks, base after base: K for each class, or 2 K."""
        if self.update is None:
            return self.first
        return Bases(*(torch.cat(p, dim=4) for p in zip(self.first, self.update, strict=True)))

    def _new(self, count: int, key: Tensor, values: int) -> Bases:
        """The bases that new objects start from, of this key's kind and so many value channels."""
        batch, channels = key.shape[:2]
        kappa = self._take_given(count, (batch, count, CLASSES, channels, self.num_bases))
        if kappa is None:
            # Variance 2 / K is the published draw; only the direction survives the normalisation.
            shape = (count, CLASSES, channels, self.num_bases)
            drawn = torch.stack([self._draw(shape, video, batch) for video in range(batch)])
            kappa = unit(drawn * (2 / self.num_bases) ** 0.5, dim=3)
        return fresh_bases(kappa.detach().to(key.device, key.dtype), values)

    def _draw(self, shape: tuple[int, ...], video: int, batch: int) -> Tensor:
        if self._generators is None:
            return torch.randn(shape)
        if len(self._generators) == 1 and batch > 1:
            # One seed for a batch: the videos draw in turn.
            return torch.randn(shape, generator=self._generators[0])
        if len(self._generators) != batch:
            raise ValueError(
                f"SWEMMemory: {len(self._generators)} seeds for a batch of {batch} videos; give "
                "one, or one for each"
            )
        return torch.randn(shape, generator=self._generators[video])

    def _take_given(self, count: int, wanted: tuple[int, ...]) -> Tensor | None:
        if self._given is None:
            return None
        given, self._given = self._given, None
        if given.shape[1] == self.num_objects + count:
            given = given[:, self.num_objects :]
        if (given.shape[0], given.shape[3]) != (wanted[0], wanted[3]) or given.shape[1] < count:
            raise ValueError(
                f"SWEMMemory: init() gave keys {tuple(given.shape)} for {count} new objects, which "
                f"need {wanted}"
            )
        if given.shape[1] > count:
            self._given = given[:, count:]
        return given[:, :count]


def _check_options(
    num_bases: int,
    iters: int,
    tau: float,
    topl: int,
    adaptive_ratio: float,
    weight_topk: int | None,
) -> None:
    counts = dict(num_bases=num_bases, iters=iters, topl=topl)
    if weight_topk is not None:
        counts["weight_topk"] = weight_topk
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"SWEMMemory: {name} must be an integer >= 1, not {count!r}")
    if not tau > 0:
        raise ValueError(f"SWEMMemory: tau must be > 0, not {tau!r}")
    if not 0 <= adaptive_ratio <= 1:
        raise ValueError(f"SWEMMemory: adaptive_ratio must be in [0, 1], not {adaptive_ratio!r}")
