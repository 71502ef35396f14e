"""Counting multiply-accumulates of whatever runs, as far as it runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


class MacCount:
    """Multiply-accumulates (MACs) that ran inside :func:`counting_macs`."""

    def __init__(self) -> None:
        self.macs = 0


@contextmanager
def counting_macs() -> Iterator[MacCount]:
    """Count the MACs of convolutions, matrix products and attention inside the block.

    No tracing: it counts operators as they are dispatched, so it takes any network, also one that
    stops half-way, as a teacher does at its last tap. Norms, activations, resizing and custom ops
    of mmcv (deformable convolution) are not counted. mmengine's ``get_model_complexity_info``
    agrees on convolutions and matrix products, adds norms, and misses fused attention.
    """
    count = MacCount()
    with ExitStack() as stack:
        # Fused attention is one operator without a formula on some devices; in parts it has one.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        fast_path = torch.backends.mha.get_fastpath_enabled()
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        torch.backends.mha.set_fastpath_enabled(False)
        if hasattr(torch.compiler, "set_stance"):  # a compiled network runs as written
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        counter = FlopCounterMode(display=False)
        with counter:
            yield count
        # Its formulas count a multiplication and an addition as two.
        count.macs = counter.get_total_flops() // 2
