"""The picture of an architecture shows its blocks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmkd_ext.flow.nas import FlowNASSpace

from . import tiny

BLUE, ORANGE, GREY = (0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00), (0xBB, 0xBB, 0xBB)


def bars(path, colour):
    """Heights in pixels of the filled places of one colour, from left to right."""
    image = cv2.imread(str(path))[..., ::-1]
    mask = (image == np.array(colour)).all(2).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    found = [row for row in stats[1:] if row[cv2.CC_STAT_AREA] > 100]
    return [int(row[cv2.CC_STAT_HEIGHT]) for row in sorted(found, key=lambda row: row[0])]


def test_bars_are_the_blocks(tmp_path):
    space = FlowNASSpace(**tiny.SPACE)
    path = tmp_path / "genotype.png"
    space.draw(tiny.GENOTYPE, path)
    legend = 1
    three, five, fixed = (bars(path, colour) for colour in (BLUE, ORANGE, GREY))
    # Widths of the blocks with kernels of 3 (stages 1, 3, 6) and of 5 (stages 2, 4, 5).
    assert len(three) == 3 + legend
    assert len(five) == 5 + legend
    unit = fixed[-1] / space.feature_dim  # the last bar is the result, of 32 channels
    assert [height / unit for height in three[:3]] == pytest.approx([16, 24, 24], abs=0.5)
    assert [height / unit for height in five[:5]] == pytest.approx([16, 16, 16, 24, 24], abs=0.5)
    space.draw(space.max(), tmp_path / "largest.png", (64, 64))
    assert bars(tmp_path / "largest.png", BLUE) == [bars(path, BLUE)[-1]]  # only in the legend
    assert len(bars(tmp_path / "largest.png", ORANGE)) == 11 + legend


def test_a_genotype_of_another_space_is_not_drawn(tmp_path):
    with pytest.raises(ValueError, match="width of stage 1"):
        FlowNASSpace().draw(tiny.GENOTYPE, tmp_path / "genotype.png")
    assert not list(tmp_path.iterdir())
