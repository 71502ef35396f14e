"""Predicted flow as files, and the archive that KITTI's server takes."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmkd_ext.atomic_file import replacing
from mmkd_ext.flow.arrays import flow_array
from mmkd_ext.flow.formats import SUFFIXES, write_flow
from mmkd_ext.flow.structures import FlowDataSample
from mmkd_ext.registry import HOOKS

KITTI_FOLDER = "flow"  # where KITTI's server looks within an archive


@HOOKS.register_module()
class FlowDumpHook(Hook):
    """Write what is predicted in tests as ``<out_dir>/<result_path>``.

    The dataset says what a result is called: of Sintel ``clean/<scene>/frame0001.flo``, the folder
    that its bundling tool takes; of KITTI ``000000_10.png``, for which ``zip_name`` makes the
    archive to upload. Several processes write into one folder, which all of them must see.

    Args:
        out_dir: Folder; ``flow`` in the run's log folder by default.
        suffix: ``.flo``, ``.png`` or ``.pfm`` in place of that of ``result_path``. A PNG is exact
            to 1/128 pixel, between -512 and 512; see :func:`mmkd_ext.flow.write_flow`.
        zip_name: Name of an archive beside the folder, of what this test has written, all under
            ``flow/`` as KITTI has it; None: no archive.

    Raises:
        ValueError: A suffix of no flow format, or an archive that does not end in ``.zip``.
    """

    def __init__(
        self, out_dir: str | None = None, suffix: str | None = None, zip_name: str | None = None
    ) -> None:
        if suffix is not None and suffix not in SUFFIXES:
            raise ValueError(f"FlowDumpHook: suffix is one of {', '.join(SUFFIXES)}, not {suffix}")
        if zip_name is not None and Path(zip_name).name != zip_name:
            raise ValueError(f"FlowDumpHook: zip_name is a name without folders, not {zip_name}")
        if zip_name is not None and not zip_name.endswith(".zip"):
            raise ValueError(f"FlowDumpHook: zip_name ends in .zip, unlike {zip_name}")
        self.out_dir = out_dir
        self.suffix = suffix
        self.zip_name = zip_name
        self._written: dict[str, str] = {}  # result file -> pair

    def before_test(self, runner: Runner) -> None:
        """Forget what an earlier test has written."""
        self._written = {}

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[FlowDataSample] | None = None,
    ) -> None:
        """Write the flow of a batch.

        Raises:
            ValueError: A pair has no ``result_path`` or shares it with another, or its flow holds
                NaN or infinity.
        """
        for sample in outputs or ():
            pair = str(sample.get("img1_path", "?"))
            if not sample.get("result_path"):
                raise ValueError(
                    f"FlowDumpHook: the pair of {pair} has no result_path in its metainfo, so its "
                    "result has no name; keep it in mmkd_ext.PackFlowInputs"
                )
            name = PurePosixPath(sample.result_path)
            name = str(name.with_suffix(self.suffix) if self.suffix else name)
            _claim(self._written, name, pair)
            write_flow(self._folder(runner) / name, flow_array(sample.pred_flow))

    def after_test(self, runner: Runner) -> None:
        """Write the archive.

        Raises:
            ValueError: Two processes wrote one file for different pairs.
        """
        written: dict[str, str] = {}
        for part in all_gather_object(self._written):  # waits until every process has written
            for name, pair in part.items():
                _claim(written, name, pair)
        if self.zip_name is None or not is_main_process():
            return
        folder = self._folder(runner)
        archive = folder.with_name(self.zip_name)
        with (
            replacing(archive) as draft,
            zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as file,  # PNGs are compressed already
        ):
            for name in sorted(written):
                file.write(folder / name, f"{KITTI_FOLDER}/{name}")
        print_log(f"FlowDumpHook: {len(written)} results in {archive}", logger="current")

    def _folder(self, runner: Runner) -> Path:
        return Path(self.out_dir or Path(runner.log_dir) / "flow")


def _claim(written: dict[str, str], name: str, pair: str) -> None:
    if written.setdefault(name, pair) != pair:
        raise ValueError(
            f"FlowDumpHook: {name} is the result of {written[name]} and of {pair}; test one "
            "dataset at a time"
        )
