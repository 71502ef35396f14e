"""A picture of one architecture."""

from __future__ import annotations

import io
from os import PathLike

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from mmkd_ext.atomic_file import atomic_write_bytes

from .architecture import BlockShape, block_shapes
from .costs import STEM_KERNEL
from .genotype import Genotype
from .space import FlowNASSpace

# Okabe and Ito's colours, which stay apart for colour-blind eyes and in grey.
KERNELS = ("#56B4E9", "#E69F00", "#009E73", "#D55E00")
FIXED, EXPANDED = "#BBBBBB", "#EFEFEF"
LEFT = -0.8  # end of the axis, in blocks
BAR = 0.64  # of the room between two blocks
GAP = 0.55  # between stages, in blocks


def draw_genotype(
    genotype: Genotype,
    space: FlowNASSpace,
    path: str | PathLike,
    input_size: tuple[int, int] | None = None,
) -> None:
    """Draw an encoder, block by block, as a PNG.

    A bar is as high as the block has channels, its pale part as there are within the block, and
    its colour tells the depthwise kernel. Dashed places are blocks that the space allows and this
    architecture has not.

    Args:
        genotype: Of the space.
        space: Says what the genotype does not.
        path: The file.
        input_size: (H, W) in pixels, for the multiply-accumulates in the title; None: 384 x 512.

    Raises:
        ValueError: The genotype is none of the space.
    """
    genotype = space.check(genotype)
    height, width = input_size = input_size or (384, 512)
    stages = block_shapes(space, genotype)
    most = [max(depths) for depths in space.choices["depth"]]
    kernels = sorted({kernel for stage in space.choices["kernel_size"] for kernel in stage})
    colours = {kernel: KERNELS[place % len(KERNELS)] for place, kernel in enumerate(kernels)}
    # Outside pyplot, so that no display or global state is involved.
    count = sum(most) + 2 + GAP * (len(stages) + 1)
    drawing = Figure(figsize=(2.2 + 0.5 * count, 4.9), dpi=110, layout="constrained")
    axes = drawing.subplots()
    top = max(block.mid_channels for stage in stages for block in stage)
    x, resolution = 0.0, 2
    ends: list[tuple[float, int]] = []  # where each stage ends, and its share of the resolution
    _fixed(axes, x, space.stem_width)
    _label(axes, x, f"stem\n{space.stem_width}\n{STEM_KERNEL} x {STEM_KERNEL}")
    x += 1 + GAP
    ends.append((x - (1 + GAP) / 2, resolution))
    for number, (stage, places) in enumerate(zip(stages, most, strict=True), start=1):
        resolution *= stage[0].stride
        for place in range(places):
            if place < len(stage):
                _block(axes, x + place, stage[place], colours)
            else:
                _absent(axes, x + place, stage[-1].out_channels)
        channels, kernel, depth, expand = (genes[number - 1] for genes in genotype.values())
        text = f"stage {number}\n{channels}\n{kernel} x {kernel}\n{depth}\n{expand}"
        _label(axes, x + (places - 1) / 2, text)
        x += places + GAP
        ends.append((x - (1 + GAP) / 2, resolution))
    _fixed(axes, x, space.feature_dim)
    _label(axes, x, f"output\n{space.feature_dim}\n1 x 1")
    ends[-1] = (x - LEFT, resolution)
    _resolutions(axes, ends)
    _label(axes, LEFT, "\nwidth\nkernel\nblocks\nexpand ratio", align="right")
    axes.set(xlim=(LEFT, x - LEFT), ylim=(0, 1.12 * max(top, space.feature_dim)), xticks=[])
    axes.set_ylabel("channels")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_title(
        f"{space.params(genotype):,} parameters of the flow network, "
        f"{space.macs(genotype, input_size) / 1e9:.2f} G MACs of its encoders "
        f"for a pair of {height} x {width} pixels",
        fontsize=10,
    )
    legend = [
        Patch(color=colour, label=f"{kernel} x {kernel}") for kernel, colour in colours.items()
    ]
    legend.append(Patch(facecolor=EXPANDED, edgecolor="#999999", label="expanded"))
    legend.append(Patch(facecolor="none", edgecolor="#999999", ls="--", label="unused"))
    drawing.legend(handles=legend, loc="outside right upper", frameon=False, fontsize=9)
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", facecolor="white")
    atomic_write_bytes(buffer.getvalue(), path)


def _block(axes: Axes, x: float, block: BlockShape, colours: dict[int, str]) -> None:
    left = x - BAR / 2
    outer = dict(facecolor=EXPANDED, edgecolor="#999999", lw=0.8)
    axes.add_patch(Rectangle((left, 0), BAR, block.mid_channels, **outer))
    colour = colours[block.kernel_size]
    axes.add_patch(Rectangle((left, 0), BAR, block.out_channels, color=colour, lw=0))


def _fixed(axes: Axes, x: float, channels: int) -> None:
    axes.add_patch(Rectangle((x - BAR / 2, 0), BAR, channels, color=FIXED, lw=0))


def _absent(axes: Axes, x: float, channels: int) -> None:
    frame = dict(facecolor="none", edgecolor="#BBBBBB", linestyle="--", lw=0.8)
    axes.add_patch(Rectangle((x - BAR / 2, 0), BAR, channels, **frame))


def _label(axes: Axes, x: float, text: str, align: str = "center") -> None:
    place = dict(xy=(x, 0), xytext=(0, -5), textcoords="offset points")
    axes.annotate(text, **place, ha=align, va="top", fontsize=9, annotation_clip=False)


def _resolutions(axes: Axes, ends: list[tuple[float, int]]) -> None:
    """Name the share of the image's size, and draw a line wherever it changes."""
    start = LEFT
    for (end, resolution), after in zip(ends, (*ends[1:], None), strict=True):
        if after is not None and after[1] == resolution:
            continue
        place = dict(ha="center", va="top", fontsize=10, transform=axes.get_xaxis_transform())
        axes.text((start + end) / 2, 0.97, f"1/{resolution}", **place)
        if after is not None:
            axes.axvline(end, color="#888888", lw=0.8, ls=":")
        start = end
