"""A look at COCO-style annotations before training: mmdet trains without any, and says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mmkd_ext.apis.errors import UserError
from mmkd_ext.text import listed

if TYPE_CHECKING:
    from mmengine.runner import Runner


def check_annotations(runner: Runner) -> None:
    """Refuse training and validation data that hold not one object of their classes.

    Unless a dataset filters out images without objects, such data trains a detector of background.

    Raises:
        UserError: A dataset's annotation file has none of its classes, or no annotation of them.
    """
    for loop in (getattr(runner, "train_loop", None), getattr(runner, "val_loop", None)):
        for dataset in _parts(getattr(getattr(loop, "dataloader", None), "dataset", None)):
            fault = fault_of(dataset)
            if fault is not None:
                raise UserError(fault)


def fault_of(dataset: Any) -> str | None:
    """What is wrong with the annotations of a dataset that reads COCO's form; None for others.

    Args:
        dataset: As mmdet's ``CocoDataset``: ``cat_ids`` are the file's ids of the dataset's
            classes, ``ann_file`` is the file. Its images may not have been loaded yet.
    """
    if not hasattr(dataset, "cat_ids") or not getattr(dataset, "ann_file", ""):
        return None
    kind, file = type(dataset).__name__, dataset.ann_file
    wanted = list(dataset.metainfo.get("classes") or ())
    if not dataset.cat_ids:
        return (
            f"No category of {file} is a class of the {kind}: the file knows "
            f"{_listed(_categories(dataset))}, the dataset wants {_listed(wanted)}. Name the "
            "file's categories in the dataset's metainfo=dict(classes=(...)), for training and "
            "validation, and their number in the model's num_classes."
        )
    if not getattr(dataset, "_fully_initialized", True):
        return None
    for index in range(len(dataset)):
        if dataset.get_data_info(index).get("instances", True):
            return None
    return (
        f"Not one of the {len(dataset)} images of {file} has an annotation of the {kind}'s classes "
        f"({_listed(wanted)}) that it can use: there is nothing to learn or to measure. Check that "
        "it is the right file, and that its boxes lie in their images and have an area."
    )


def _parts(dataset: Any) -> Iterator[Any]:
    """The datasets inside wrappers that repeat, mix or join them."""
    inner = getattr(dataset, "datasets", None) or getattr(dataset, "dataset", None)
    if inner is None:
        yield dataset
    else:
        for part in inner if isinstance(inner, (list, tuple)) else [inner]:
            yield from _parts(part)


def _categories(dataset: Any) -> list[str]:
    import mmengine

    content = mmengine.load(dataset.ann_file, backend_args=getattr(dataset, "backend_args", None))
    return [str(category.get("name")) for category in content.get("categories", ())]


def _listed(names: list[str]) -> str:
    return listed(names, most=10) or "none"
