"""The digit world in ADE20K's form, read by mmseg's own classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from PIL import Image

from mmkd_ext import demo_data
from mmkd_ext.demo_data import scenes, seg_digits

BASE = Path(__file__).parents[2] / "configs" / "_base_" / "datasets" / "seg_digits.py"


@pytest.fixture(scope="module")
def root() -> Path:
    return Path(demo_data.ensure("seg_digits"))


@pytest.fixture
def mmseg_scope():
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


@pytest.mark.parametrize("split", list(scenes.IMAGES))
def test_every_pixel_has_the_class_of_what_it_shows(root, split):
    name = seg_digits.FOLDERS[split]
    files = sorted((root / "annotations" / name).iterdir())
    assert len(files) == scenes.IMAGES[split]
    found, unlabelled, drawn = set(), 0, 0
    for index, file in enumerate(files):
        assert Image.open(file).mode == "L"
        classes = np.asarray(Image.open(file))
        image = np.asarray(Image.open(root / "images" / name / file.name))
        assert (classes.shape, image.shape) == ((128, 128), (128, 128, 3))
        found |= set(np.unique(classes).tolist())
        if split == "train" and index % 4:  # of 800, 200 are drawn once more
            continue
        drawn += 1
        scene = scenes.scene(split, index)
        picture = scenes.render(scene)
        np.testing.assert_array_equal(image, picture.image)
        near_digit = np.zeros_like(classes, dtype=bool)
        for i, sprite in enumerate(scene.sprites):
            value = 255 if sprite.label is None else sprite.label + 1
            assert (classes[picture.mask(i)] == value).all()
            unlabelled += value == 255 and picture.mask(i).any()
            if value != 255:
                for y, x in np.argwhere(picture.mask(i)):
                    near_digit[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
        empty = picture.owner == scenes.NOTHING
        assert (classes[empty & near_digit] == 255).all()  # the rim
        assert (classes[empty & ~near_digit] == 0).all()
    assert found == {*range(11), 255}
    assert unlabelled > 0.2 * drawn


def test_mmsegs_own_dataset_reads_it(root, mmseg_scope):
    from mmseg.datasets import BaseSegDataset
    from mmseg.registry import DATASETS, MODELS

    cfg = Config.fromfile(BASE)
    for split, size in scenes.IMAGES.items():
        dataset = DATASETS.build(cfg[f"{split}_dataloader"].dataset)
        assert type(dataset) is BaseSegDataset
        assert len(dataset) == size
        assert dataset.metainfo["classes"] == ("background", *"0123456789")
        folder = root / "annotations" / seg_digits.FOLDERS[split]
        for index in range(0, size, 10):
            item = dataset[index]
            assert item["inputs"].shape == (3, 128, 128)
            stored = np.asarray(Image.open(folder / f"{index:04d}.png"))
            read = item["data_samples"].gt_sem_seg.data[0].numpy()
            np.testing.assert_array_equal(read, stored)

    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batch = MODELS.build(cfg.data_preprocessor)(next(iter(loader)), training=True)
    assert batch["inputs"].shape == (8, 3, 128, 128)
    assert abs(batch["inputs"].mean()) < 0.5
    assert 0.7 < batch["inputs"].std() < 1.3
    labels = torch.stack([sample.gt_sem_seg.data for sample in batch["data_samples"]])
    assert labels.shape == (8, 1, 128, 128)
    assert 255 in labels
    assert labels[labels != 255].max() <= 10


def test_the_truth_as_prediction_is_perfect(root, mmseg_scope):
    from mmseg.registry import DATASETS, METRICS

    cfg = Config.fromfile(BASE)
    for split in ("val", "test"):
        dataset = DATASETS.build(cfg[f"{split}_dataloader"].dataset)
        metric = METRICS.build(cfg[f"{split}_evaluator"])
        metric.dataset_meta = dataset.metainfo
        for item in dataset:
            sample = item["data_samples"]
            guess = sample.gt_sem_seg.data.clone()
            guess[guess == 255] = 3  # whatever a network says there does not count
            sample.pred_sem_seg = PixelData(data=guess)
            metric.process({}, [sample.to_dict()])
        result = metric.evaluate(len(dataset))
        assert result["mIoU"] == result["mAcc"] == result["aAcc"] == 100
