"""The digit world in COCO form, read by pycocotools and by mmdet's own classes."""

import contextlib
import io
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from PIL import Image

from mmkd_ext import demo_data
from mmkd_ext.demo_data import scenes

BASES = Path(__file__).parents[2] / "configs" / "_base_" / "datasets"


@pytest.fixture(scope="module")
def root() -> Path:
    return Path(demo_data.ensure("det_digits"))


@pytest.fixture
def mmdet_scope():
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


def load_coco(file: Path):
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(file))


@pytest.mark.parametrize("split", list(scenes.IMAGES))
def test_annotations_are_what_can_be_seen(root, split):
    coco = load_coco(root / "annotations" / f"{split}.json")
    assert len(coco.imgs) == scenes.IMAGES[split]
    assert [category["name"] for category in coco.cats.values()] == list("0123456789")
    kinds, areas, touching = {list: 0, dict: 0}, [], 0
    for image_id, info in coco.imgs.items():
        annotations = coco.imgToAnns[image_id]
        masks = [coco.annToMask(annotation).astype(bool) for annotation in annotations]
        for annotation, mask in zip(annotations, masks, strict=True):
            assert mask.shape == (info["height"], info["width"]) == (128, 128)
            rows, columns = np.nonzero(mask)
            x, y, width, height = annotation["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
            assert annotation["area"] == mask.sum()
            assert annotation["iscrowd"] == 0
            kinds[type(annotation["segmentation"])] += 1
            areas.append(annotation["area"])
        assert not masks or np.sum(masks, axis=0).max() == 1  # disjoint
        for a, b in combinations([annotation["bbox"] for annotation in annotations], 2):
            touching += all(a[i] < b[i] + b[i + 2] and b[i] < a[i] + a[i + 2] for i in (0, 1))
        stored = np.asarray(Image.open(root / split / info["file_name"]))
        assert stored.shape == (128, 128, 3)
        if split == "train" and image_id % 4:  # of 800, 200 are drawn once more
            continue
        # The same picture in pixels, before any encoding.
        scene = scenes.scene(split, image_id - 1)
        picture = scenes.render(scene)
        seen = [picture.mask(i) for i, s in enumerate(scene.sprites) if s.label is not None]
        assert len(seen) == len(masks)
        assert all(np.array_equal(a, b) for a, b in zip(seen, masks, strict=True))
        names = [coco.cats[annotation["category_id"]]["name"] for annotation in annotations]
        assert names == [str(s.label) for s in scene.sprites if s.label is not None]
        np.testing.assert_array_equal(stored, picture.image)
    assert min(kinds.values()) > 0.2 * sum(kinds.values())  # polygons and run lengths
    assert np.percentile(areas, 90) > 3 * np.percentile(areas, 10)
    assert touching > 0.2 * len(coco.imgs)
    assert 0 < sum(not coco.imgToAnns[i] for i in coco.imgs) < 0.2 * len(coco.imgs)


def test_splits_share_no_digit(root):
    from sklearn.datasets import load_digits

    target, used = load_digits().target, {}
    for split in scenes.IMAGES:
        content = json.loads((root / "annotations" / f"{split}.json").read_text())
        names = {category["id"]: category["name"] for category in content["categories"]}
        used[split] = {annotation["digit"] for annotation in content["annotations"]}
        for annotation in content["annotations"]:
            assert names[annotation["category_id"]] == str(target[annotation["digit"]])
    assert all(not used[a] & used[b] for a, b in combinations(used, 2))


@pytest.mark.parametrize("name", ["det_digits", "insseg_digits"])
def test_mmdets_own_dataset_reads_it(root, mmdet_scope, name):
    from mmdet.datasets import CocoDataset
    from mmdet.registry import DATASETS, MODELS

    cfg = Config.fromfile(BASES / f"{name}.py")
    for split, size in scenes.IMAGES.items():
        dataset = DATASETS.build(cfg[f"{split}_dataloader"].dataset)
        assert type(dataset) is CocoDataset
        assert len(dataset) == size
        assert dataset.metainfo["classes"] == tuple("0123456789")
        coco = load_coco(root / "annotations" / f"{split}.json")
        for index in range(0, size, 10):
            sample = dataset[index]["data_samples"]
            truth = sample.gt_instances
            annotations = coco.imgToAnns[sample.img_id]
            assert truth.labels.tolist() == [a["category_id"] - 1 for a in annotations]
            assert len(sample.ignored_instances) == 0
            boxes = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in annotations)]
            assert truth.bboxes.tensor.tolist() == boxes
            if name == "insseg_digits":
                assert truth.masks.masks.shape == (len(annotations), 128, 128)
                for mask, annotation in zip(truth.masks, annotations, strict=True):
                    np.testing.assert_array_equal(mask, coco.annToMask(annotation))
        assert any(not dataset.get_data_info(index)["instances"] for index in range(size))

    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batch = MODELS.build(cfg.data_preprocessor)(next(iter(loader)), training=True)
    assert batch["inputs"].shape == (8, 3, 128, 128)
    assert abs(batch["inputs"].mean()) < 0.5
    assert 0.7 < batch["inputs"].std() < 1.3
    sample = batch["data_samples"][0]
    assert sample.batch_input_shape == (128, 128)


def test_the_truth_as_prediction_is_perfect(root, mmdet_scope):
    from mmdet.registry import DATASETS, METRICS

    cfg = Config.fromfile(BASES / "insseg_digits.py")
    for split in ("val", "test"):
        dataset = DATASETS.build(cfg[f"{split}_dataloader"].dataset)
        metric = METRICS.build(cfg[f"{split}_evaluator"])
        metric.dataset_meta = dataset.metainfo
        for item in dataset:
            sample = item["data_samples"]
            truth = sample.gt_instances
            sample.pred_instances = InstanceData(
                bboxes=truth.bboxes.tensor,
                labels=truth.labels,
                scores=torch.ones(len(truth)),
                masks=truth.masks.to_tensor(torch.bool, "cpu"),
            )
            metric.process({}, [sample.to_dict()])
        with contextlib.redirect_stdout(io.StringIO()):
            result = metric.evaluate(len(dataset))
        for kind in ("bbox", "segm"):
            for key in ("mAP", "mAP_50", "mAP_75", "mAP_s"):
                assert result[f"coco/{kind}_{key}"] == 1.0, (split, kind, key)
