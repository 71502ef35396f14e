"""Running statistics of batch norms for the sub-network that is active."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def averaging_batch_norms(
    model: nn.Module, norms: Sequence[_BatchNorm] | None = None
) -> Iterator[None]:
    """Replace running statistics by the mean over the batches that run inside; all count alike.

    Source: Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV
    2019, arXiv:1903.05134, section 3.4.

    Args:
        model: The network that runs; but for these norms it keeps its mode.
        norms: Batch norms in it that track statistics; None: all of those.

    Raises:
        ValueError: There is none, or no batch passed one.
    """
    if norms is None:
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        raise ValueError(
            f"calibration: {type(model).__name__} has no batch norm that tracks statistics; leave "
            "calibration out"
        )
    before = [(norm.momentum, norm.training) for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = None  # torch's word for a mean over all batches
        yield
    finally:
        for norm, (momentum, training) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.train(training)
    if not any(int(norm.num_batches_tracked) for norm in norms):
        raise ValueError(
            f"calibration: no batch norm of {type(model).__name__} took statistics: no batch "
            "passed them, or their mode takes none"
        )


class Calibration:
    """Runs some batches of a loader through the active sub-network to take its statistics.

    Args:
        dataloader: Of the batches, not shuffled; best of training data.
        batches: How many.
        calibrating: Makes, of a model, the context in which they run.
    """

    def __init__(
        self,
        dataloader: Iterable,
        batches: int,
        calibrating: Callable[[nn.Module], AbstractContextManager] = averaging_batch_norms,
    ) -> None:
        self.dataloader = dataloader
        self.batches = batches
        self.calibrating = calibrating

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> None:
        """Calibrate a model, which has ``test_step``; it is in eval mode then."""
        model.eval()
        with self.calibrating(model):
            for batch in islice(self.dataloader, self.batches):
                model.test_step(batch)
        model.eval()
