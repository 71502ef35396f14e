"""What a genotype is, and the two published ones.

Source: Lin et al., "FlowNAS: Neural Architecture Search for Optical Flow Estimation", IJCV 132(4),
2024, arXiv:2207.01271, and the architectures of the published code.
"""

from __future__ import annotations

# gene -> its value in every stage. All blocks of a stage share width, kernel size and expand ratio.
Genotype = dict[str, tuple[int, ...]]

# The order of the published search: widths, kernel sizes, depths, expand ratios.
GENES = ("width", "kernel_size", "depth", "expand_ratio")

# Searched for Sintel.
FLOWNAS_S: Genotype = {
    "width": (64, 72, 96, 104, 120, 136),
    "kernel_size": (3, 3, 5, 3, 5, 5),
    "depth": (2, 2, 2, 1, 2, 1),
    "expand_ratio": (1, 2, 5, 5, 6, 6),
}
# Searched for KITTI.
FLOWNAS_K: Genotype = {
    "width": (64, 72, 88, 104, 120, 136),
    "kernel_size": (3, 5, 3, 5, 5, 5),
    "depth": (2, 1, 1, 2, 2, 1),
    "expand_ratio": (1, 4, 6, 5, 6, 6),
}
