"""What every table of results needs: mean and spread, and the hardware it was measured on."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path


def mean_and_spread(values: Sequence[float], signed: bool = False, digits: int = 2) -> str:
    """``'93.17 ± 0.52'``; the spread is the sample standard deviation, left out for one value."""
    mean = f"{statistics.mean(values):{'+' if signed else ''}.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def hardware(gpu: bool = True) -> str:
    """Processor and, unless it was not used, GPU; cores, threads used and the version of torch."""
    import torch

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [
            line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0].partition(":")[2].strip() if models else name
    if gpu and torch.cuda.is_available():
        name = f"{torch.cuda.get_device_name()} ({name})"
    threads = torch.get_num_threads()
    return f"{name}, {os.cpu_count()} cores, {threads} used, torch {torch.__version__}"
