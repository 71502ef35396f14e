"""Datasets that upstream lacks. Those of a task library are registered where it is installed."""

from importlib.util import find_spec

__all__ = []

if find_spec("mmpretrain"):
    from mmkd_ext.datasets.folder_subset import FolderSubset

    __all__ += ["FolderSubset"]
