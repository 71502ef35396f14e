"""Binary masks in the two ways COCO's annotation files write them, both exact to the pixel.

Shapes: (H, W) bool masks. Coordinates are those of pixel edges: pixel (x, y) is the square from
(x, y) to (x + 1, y + 1).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

Point = tuple[int, int]


def bounding_box(mask: np.ndarray) -> list[int]:
    """Return the extent of a mask that is not empty as COCO's [x, y, width, height]."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def run_lengths(mask: np.ndarray) -> dict:
    """Return a mask as COCO's uncompressed run-length encoding.

    The counts go down the columns and alternate between outside and inside, starting outside.
    """
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    bounds = np.concatenate([[0], changes, [mask.size]])
    counts = np.diff(bounds)
    if counts[-1] == 0:
        counts = counts[:-1]
    return {"size": list(mask.shape), "counts": counts.tolist()}


def polygons(mask: np.ndarray) -> list[list[int]] | None:
    """Return a mask as COCO's polygons, [x0, y0, x1, y1, ...] for each 4-connected part.

    They run along pixel edges, and COCO's rasteriser gives the mask back exactly.

    Returns:
        None when the mask has a hole, which COCO's polygons cannot express.
    """
    outlines = _outlines(mask)
    if any(_signed_area(outline) < 0 for outline in outlines):
        return None
    return [[coordinate for corner in outline for coordinate in corner] for outline in outlines]


def _outlines(mask: np.ndarray) -> list[list[Point]]:
    """Walk along all edges between inside and outside, with the inside on the right.

    Returns:
        The corners of each closed walk: clockwise around a part, the other way around a hole.
    """
    ways = _edges(mask)
    outlines = []
    while ways:
        # The leftmost point is a corner with one way to go: where two pixels touch at a corner, and
        # two ways lead on, one of the pixels lies farther left.
        point = start = min(ways)
        heading, corners = None, []
        while heading is None or point != start:
            ahead, (first, *_) = heading, ways[point]
            right = (-heading[1], heading[0]) if heading else first
            heading = right if right in ways[point] else first  # right: stays with the same pixel
            ways[point].remove(heading)
            if not ways[point]:
                del ways[point]
            if heading != ahead:
                corners.append(point)
            point = (point[0] + heading[0], point[1] + heading[1])
        outlines.append(corners)
    return outlines


def _edges(mask: np.ndarray) -> dict[Point, list[Point]]:
    """Return the steps of length one that make up the outlines, by the point they start from."""
    padded = np.pad(mask, 1)
    ways: dict[Point, list[Point]] = defaultdict(list)
    for outside, (right, down), step in (
        (~padded[:-2, 1:-1], (0, 0), (1, 0)),  # nothing above: along the upper edge, rightwards
        (~padded[1:-1, 2:], (1, 0), (0, 1)),
        (~padded[2:, 1:-1], (1, 1), (-1, 0)),
        (~padded[1:-1, :-2], (0, 1), (0, -1)),
    ):
        for y, x in np.argwhere(mask & outside).tolist():
            ways[(x + right, y + down)].append(step)
    return ways


def _signed_area(corners: list[Point]) -> int:
    """Return twice the area, positive when clockwise (y points down)."""
    following = corners[1:] + corners[:1]
    return sum(x * v - u * y for (x, y), (u, v) in zip(corners, following, strict=True))
