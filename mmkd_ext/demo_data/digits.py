"""The source of all demo data: scikit-learn's handwritten digits, enlarged and split.

1797 real 8x8 scans of digits (UCI Optical Recognition of Handwritten Digits, test set), which ship
inside scikit-learn: nothing is downloaded.

Shapes: N images, S = IMAGE_SIZE pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mmkd_ext.demo_data.folder import DemoDataError

IMAGE_SIZE = 32  # pixels; four times the scans' 8, so that a network with stride 8 has a 4x4 map
NUM_CLASSES = 10
SPLIT_SEED = 20240229
TEST_PER_CLASS = 60  # reported
VAL_PER_CLASS = 30  # used to choose loss weights, never reported
SCAN_MAX = 16  # the scans' grey levels are 0..16


@dataclass(frozen=True)
class Digits:
    """Images with their labels and splits.

    Attributes:
        scans: (N, 8, 8) uint8, as scanned, 0 = paper, 255 = ink.
        images: (N, S, S) uint8, the scans enlarged.
        labels: (N,) int64, 0..9.
        splits: 'train', 'val', 'test' -> (n,) int64 indices into the above, disjoint, in an order
            that is random within a class and cycles through the classes, so that any prefix of
            ``10 k`` has k images of every class.
    """

    scans: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    splits: dict[str, np.ndarray]


@lru_cache(maxsize=1)
def load() -> Digits:
    """Return the digits; the same on every call and machine.

    Raises:
        DemoDataError: When scikit-learn or Pillow is not installed.
    """
    try:
        from PIL import Image
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise DemoDataError(
            f"The demo's digits need {error.name}, which is not installed: "
            "pip install scikit-learn pillow, or the extra mmkd_ext[optional]"
        ) from None

    scans = load_digits()
    levels = np.rint(scans.images * (255 / SCAN_MAX)).astype(np.uint8)
    # Bicubic: nearest would leave 4x4 blocks whose edges are easier to learn than the strokes.
    size = (IMAGE_SIZE, IMAGE_SIZE)
    images = np.stack(
        [
            np.asarray(Image.fromarray(scan).resize(size, Image.Resampling.BICUBIC))
            for scan in levels
        ]
    )
    labels = scans.target.astype(np.int64)
    return Digits(scans=levels, images=images, labels=labels, splits=split(labels))


def split(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Split indices by class into test, val and train (the rest).

    Args:
        labels: (N,) class of each image.

    Returns:
        Split name -> (n,) indices, interleaved by class (see :class:`Digits`).
    """
    # RandomState's stream is frozen by numpy's compatibility policy; default_rng's is not.
    random = np.random.RandomState(SPLIT_SEED)
    by_class = [random.permutation(np.flatnonzero(labels == c)) for c in range(NUM_CLASSES)]
    last_val = TEST_PER_CLASS + VAL_PER_CLASS
    bounds = {
        "test": slice(0, TEST_PER_CLASS),
        "val": slice(TEST_PER_CLASS, last_val),
        "train": slice(last_val, None),
    }
    return {
        name: _interleave([members[part] for members in by_class]) for name, part in bounds.items()
    }


def _interleave(columns: list[np.ndarray]) -> np.ndarray:
    longest = max(len(column) for column in columns)
    rows = [column[i] for i in range(longest) for column in columns if i < len(column)]
    return np.asarray(rows, dtype=np.int64)
