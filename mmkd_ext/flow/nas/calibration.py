"""Statistics of batch norms, taken anew for the network that runs now.

Source: Wang et al., "AttentiveNAS", CVPR 2021, arXiv:2011.09011, which calibrates every sub-network
after the training of the super-network. The published code of FlowNAS never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from mmkd_ext.search.calibration import averaging_batch_norms

from .elastic_layers import ElasticBatchNorm2d
from .encoder import FlowNASEncoder

# Of the elastic and of the static encoder: stored statistics that data decides.
_MODES = ("calibrated", "tracked")


@contextmanager
def calibrating(model: nn.Module) -> Iterator[None]:
    """Let FlowNAS encoders take the statistics of every batch that runs inside the block.

    :func:`~mmkd_ext.search.calibration.averaging_batch_norms` for the norms of these encoders; the
    model keeps its genotype, and no gradient is needed::

        model.eval()
        with torch.no_grad(), calibrating(model):
            for data in itertools.islice(loader, batches):
                model.test_step(data)

    Args:
        model: A flow network, or anything that holds such encoders: elastic ones of
            ``bn_mode='calibrated'`` or static ones of ``bn_mode='tracked'``.

    Raises:
        ValueError: There is nothing to calibrate, or no batch ran.
    """
    encoders = [
        module
        for module in model.modules()
        if isinstance(module, FlowNASEncoder) and module.norm == "batch"
    ]
    norms = [
        module
        for encoder in encoders
        if encoder.bn_mode in _MODES
        for module in encoder.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    if not norms:
        modes = ", ".join(sorted({encoder.bn_mode for encoder in encoders})) or "no batch norm"
        raise ValueError(
            f"calibrating {type(model).__name__}: nothing to calibrate, as its FlowNAS encoders "
            f"have {modes}; calibration takes bn_mode='calibrated' (elastic) or 'tracked' (static)"
        )
    with averaging_batch_norms(model, norms):
        yield
    for norm in norms:
        if isinstance(norm, ElasticBatchNorm2d):
            norm.calibrated = not norm.training
