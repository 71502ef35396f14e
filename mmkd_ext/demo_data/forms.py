"""The on-disk forms of the demo data, and how one is asked for by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from mmkd_ext.demo_data.folder import data_root, ensure_folder


class Form(NamedTuple):
    """One on-disk form of the demo data.

    Attributes:
        module: The module whose ``write(folder)`` fills an empty folder; imported when needed.
        version: Raised whenever what ``write`` produces changes: old folders are then rebuilt.
        describe: What it is, for the line that says it is being made.
    """

    module: str
    version: int
    describe: str

    @property
    def write(self) -> Callable[[Path], None]:
        """The function that fills an empty folder."""
        return import_module(self.module).write


FORMS = {
    "cls_digits": Form(
        module="mmkd_ext.demo_data.cls_digits",
        version=1,
        describe="1797 handwritten digits of scikit-learn as an ImageNet-style folder",
    ),
    "det_digits": Form(
        module="mmkd_ext.demo_data.det_digits",
        version=1,
        describe="scenes of handwritten digits as a COCO-style dataset",
    ),
    "seg_digits": Form(
        module="mmkd_ext.demo_data.seg_digits",
        version=1,
        describe="scenes of handwritten digits as an ADE20K-style dataset",
    ),
    "vos_digits": Form(
        module="mmkd_ext.demo_data.vos_digits",
        version=2,
        describe="clips of moving handwritten digits as a DAVIS-2017-style dataset",
    ),
    "flow_digits": Form(
        module="mmkd_ext.demo_data.flow_digits",
        version=2,
        describe="image pairs of moving handwritten digits as a FlyingChairs-style dataset",
    ),
}


def ensure(form: str) -> str:
    """Return the folder of one form of the demo data, made first when it is missing.

    The path is a string, absolute and independent of the working directory, ready for a config's
    ``data_root``. Processes that ask at the same time build it once.

    Args:
        form: A key of :data:`FORMS`, e.g. ``'cls_digits'``.

    Raises:
        ValueError: When there is no such form.
        DemoDataError: When the folder cannot be written.
    """
    if form not in FORMS:
        raise ValueError(f"No demo data is called {form!r}; there is: {', '.join(FORMS)}.")
    entry = FORMS[form]
    folder = ensure_folder(
        data_root() / form,
        version=entry.version,
        write=lambda target: entry.write(target),
        describe=entry.describe,
    )
    return str(folder)
