"""A few pairs of the flow digits, where the configs look for all of them."""

from pathlib import Path

from mmkd_ext.demo_data import FORMS, data_root, flow_digits
from mmkd_ext.demo_data.folder import ensure_folder

PAIRS = {"train": 6, "val": 3, "test": 2}


def make(pairs: dict[str, int] = PAIRS) -> Path:
    """Write them below ``MMKD_DEMO_ROOT``, which must be a folder of the tests."""
    return ensure_folder(
        data_root() / "flow_digits",
        version=FORMS["flow_digits"].version,
        write=lambda folder: flow_digits.write(folder, pairs),
        describe="a few image pairs",
    )
