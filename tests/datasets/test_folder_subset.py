"""A slice of each class: the right images, disjoint splits, clear errors."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

from mmkd_ext.registry import DATASETS


@pytest.fixture
def folder(tmp_path):
    for label, count in (("cat", 6), ("dog", 5)):
        (tmp_path / "train" / label).mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(
                str(tmp_path / "train" / label / f"{index}.png"),
                np.full((2, 2, 3), index, np.uint8),
            )
    return tmp_path


def build(folder, **arguments):
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return DATASETS.build(
            dict(
                type="mmkd_ext.FolderSubset",
                data_root=str(folder),
                data_prefix="train",
                pipeline=[],
                **arguments,
            )
        )


def names(dataset):
    paths = [Path(dataset.get_data_info(i)["img_path"]) for i in range(len(dataset))]
    return [f"{path.parent.name}/{path.stem}" for path in paths]


def test_it_keeps_the_slice_of_each_class(folder):
    train, held_out = build(folder, per_class=(0, 3)), build(folder, per_class=[3, 5])
    assert names(train) == [f"{c}/{i}" for c in ("cat", "dog") for i in range(3)]
    assert names(held_out) == [f"{c}/{i}" for c in ("cat", "dog") for i in (3, 4)]
    assert [held_out.get_data_info(i)["gt_label"] for i in range(4)] == [0, 0, 1, 1]
    assert held_out.CLASSES == ("cat", "dog") or held_out.CLASSES == ["cat", "dog"]


def test_without_a_slice_it_is_the_stock_dataset(folder):
    assert len(build(folder)) == 11


@pytest.mark.parametrize("per_class", [(0,), (3, 3), (-1, 2), (0, 2.5), (2, 0), 1000])
def test_a_bad_slice(folder, per_class):
    with pytest.raises(ValueError, match=r"per_class is \(start, stop\)"):
        build(folder, per_class=per_class)


def test_a_class_that_is_too_small(folder):
    with pytest.raises(ValueError, match=r"class 'dog' of .*train has only 5 images"):
        build(folder, per_class=(0, 6))


def test_an_empty_class(folder):
    (folder / "train" / "eel").mkdir()
    with pytest.raises(ValueError, match=r"class 'eel' of .*train has only 0 images"):
        build(folder, per_class=(0, 2))
