"""The BCCD and CamVid configs: a step and an evaluation of each, from data of their layout."""

import json
import sys

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmengine.config import Config

from mmkd_ext.apis.compare import headline
from mmkd_ext.apis.config import set_data_root
from mmkd_ext.apis.errors import explain
from tests.packaging.commands import run

from .cls_configs import ROOT, equal, record_inputs, runner_of, shapes, terms_of
from .real_data import bccd_json, write_bccd, write_camvid

pytestmark = pytest.mark.filterwarnings("ignore")

FOLDER = ROOT / "configs" / "real"
N = 2  # images in a batch
LEVELS = [(32, 40), (16, 20), (8, 10)]  # of 320x240 pixels, padded to 256


def levels(name):
    return {f"{name}_{i}": [(N, 64, *size)] * 2 for i, size in enumerate(LEVELS)}


MGD = {"mgd": [(N, 64, 23, 30), (N, 192, 23, 30)]}
CWD = {"cwd": [(N, 11, 23, 30)] * 2}
TAPS = {
    "bccd_gfl_teacher": {},
    "bccd_gfl_baseline": {},
    "bccd_gfl_mgd": levels("mgd"),
    "bccd_gfl_pkd": levels("pkd"),
    "camvid_pspnet_teacher": {},
    "camvid_pspnet_baseline": {},
    "camvid_pspnet_mgd": MGD,
    "camvid_pspnet_cwd": CWD,
    "camvid_pspnet_mgd-cwd": MGD | CWD,
}
# No more data and processes than a test needs, as --cfg-options would say it.
SMALL = {
    f"{split}_dataloader.{key}": value
    for split in ("train", "val", "test")
    for key, value in dict(batch_size=N, num_workers=0, persistent_workers=False).items()
}
PARTS = {"train_dataloader.dataset.indices": 6, "val_dataloader.dataset.indices": -2}


def test_every_config_in_the_folder_is_covered():
    others = {path.stem for path in FOLDER.glob("*.py")}
    assert {
        name for name in others if not name.startswith(("cifar10_", "davis16_", "flow_"))
    } == set(TAPS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return dict(bccd=write_bccd(root / "bccd"), camvid=write_camvid(root / "camvid"))


def options_of(name, cfg):
    if not name.startswith("bccd"):
        return SMALL
    # Without a box found there are no metrics.
    network = "model.student" if "student" in cfg.model else "model"
    return SMALL | PARTS | {f"{network}.test_cfg.score_thr": 0.0}


def load(name, data, checkpoint=None):
    cfg = Config.fromfile(FOLDER / f"{name}.py")
    set_data_root(cfg, data[name.partition("_")[0]])
    cfg.merge_from_dict(options_of(name, cfg))
    if "teacher" in cfg.model:
        cfg.model.teacher.checkpoint = checkpoint
    return cfg


@pytest.mark.parametrize("name", TAPS)
def test_it_trains_a_step_and_evaluates(name, data, tmp_path):
    cfg = load(name, data)
    runner = runner_of(cfg, tmp_path)
    model = runner.model
    inherited = cfg.model.get("inherit") or []
    assert inherited == (["neck", "bbox_head"] if name == "bccd_gfl_mgd" else [])
    if inherited:
        pairs = [(model.bbox_head, model.teacher.bbox_head)]
        # The lateral convolutions take the backbones' channels, which differ.
        pairs.append((model.neck.fpn_convs, model.teacher.neck.fpn_convs))
        assert all(equal(own.state_dict(), other.state_dict()) for own, other in pairs)
    seen = {loss: [] for loss in TAPS[name]}
    for loss in seen:
        record_inputs(model.distill[loss], seen[loss])
    batch = next(iter(runner.build_dataloader(cfg.train_dataloader)))
    model.train()
    log = model(**model.data_preprocessor(batch, training=True), mode="loss")
    first = next(model.backbone.parameters())
    for loss, expected in TAPS[name].items():
        [((student, teacher, _), _)] = seen[loss]
        assert [shapes(student), shapes(teacher)] == expected
        for key in terms_of(log, loss):
            (gradient,) = torch.autograd.grad(log[key], first, retain_graph=True)
            assert torch.isfinite(gradient).all()
            assert gradient.abs().sum() > 0, key
    wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    wrapper.update_params(model.parse_losses(log)[0])
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    metrics = runner.val()
    metric = "coco/bbox_mAP" if name.startswith("bccd") else "mIoU"
    assert headline(metrics) == metric
    assert 0 <= metrics[metric] <= 100


@pytest.mark.parametrize("family", ["bccd_gfl", "camvid_pspnet"])
def test_baseline_and_methods_share_data_and_schedule(family):
    settings = {}
    for name in TAPS:
        if name.startswith(family) and not name.endswith("teacher"):
            cfg = Config.fromfile(FOLDER / f"{name}.py")
            parts = (cfg.model.get("student", cfg.model), cfg.train_dataloader, cfg.optim_wrapper)
            settings[name] = str((*parts, cfg.param_scheduler, cfg.train_cfg))
    assert len(settings) >= 3
    assert len(set(settings.values())) == 1


@pytest.mark.parametrize("family", ["bccd_gfl", "camvid_pspnet"])
def test_the_teacher_is_the_file_its_config_leaves(family, data, tmp_path):
    cfg = Config.fromfile(FOLDER / f"{family}_mgd.py")
    teacher = Config.fromfile(FOLDER / f"{family}_teacher.py")
    last = f"work_dirs/{family}_teacher/epoch_{teacher.train_cfg.max_epochs}.pth"
    assert cfg.model.teacher.checkpoint == last
    with pytest.raises(Exception, match="epoch_") as error:
        runner_of(load(f"{family}_mgd", data, checkpoint=last), tmp_path)
    message = explain(error.value)
    assert last in message
    assert f"python -m mmkd_ext train {family}_teacher.py --data-root PATH" in message


def dataset_of(loader, folder, images):
    """The CocoDataset that a config's loader names, of so many images."""
    file = folder / f"{images}.json"
    file.write_text(json.dumps(bccd_json(images)))
    options = {key: loader.dataset[key] for key in ("indices", "metainfo")}
    filters = loader.dataset.get("filter_cfg")
    options |= dict(ann_file=str(file), data_prefix=dict(img=""), filter_cfg=filters)
    return CocoDataset(pipeline=[], **options)


def test_what_is_held_out_of_bccd(tmp_path):
    cfg = Config.fromfile(FOLDER / "bccd_gfl_baseline.py")
    loaders = cfg.train_dataloader, cfg.val_dataloader
    assert {loader.dataset.ann_file for loader in loaders} == {"annotations/train.json"}
    assert cfg.test_dataloader.dataset.ann_file == "annotations/test.json"
    assert "indices" not in cfg.test_dataloader.dataset
    train, val = (dataset_of(loader, tmp_path, images=292) for loader in loaders)
    numbers = [[part.get_data_info(i)["img_id"] for i in range(len(part))] for part in (train, val)]
    assert numbers == [list(range(1, 249)), list(range(249, 293))]
    # Of fewer images, some would be in both.
    with pytest.raises(IndexError):
        dataset_of(loaders[1], tmp_path, images=291)


def test_the_held_out_images_are_scored_as_by_a_file_of_their_own(data, tmp_path):
    """The evaluator without annotation file takes the boxes from the samples."""
    cfg = load("bccd_gfl_baseline", data)
    runner = runner_of(cfg, tmp_path)
    loader = runner.build_dataloader(cfg.val_dataloader)
    content = bccd_json(8)
    held_out = [image for image in content["images"] if image["id"] > 6]
    boxes = [a for a in content["annotations"] if a["image_id"] > 6]
    file = tmp_path / "val.json"
    file.write_text(json.dumps(content | dict(images=held_out, annotations=boxes)))
    without, with_file = CocoMetric(metric="bbox"), CocoMetric(ann_file=str(file), metric="bbox")
    for metric in (without, with_file):
        metric.dataset_meta = loader.dataset.metainfo
    rng = np.random.default_rng(0)
    for batch in loader:
        samples = []
        for sample in batch["data_samples"]:
            found = [i for i in sample.instances if rng.random() < 0.9]
            near = np.array([i["bbox"] for i in found]) + rng.normal(0, 0.8, (len(found), 4))
            labels = torch.tensor([i["bbox_label"] for i in found])
            scores = torch.tensor(rng.random(len(found)))
            found = dict(bboxes=torch.tensor(near), labels=labels, scores=scores)
            samples.append(sample.to_dict() | dict(pred_instances=found))
        for metric in (without, with_file):
            metric.process(batch, samples)
    scores = [metric.evaluate(len(held_out)) for metric in (without, with_file)]
    assert scores[0] == scores[1]
    assert 0.1 < scores[0]["coco/bbox_mAP"] < 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric"),
    [("bccd_gfl_mgd", "coco/bbox_mAP"), ("camvid_pspnet_mgd-cwd", "mIoU")],
)
def test_compare_trains_tests_and_reports(name, metric, data, tmp_path):
    family = name.rpartition("_")[0]
    teacher = runner_of(load(f"{family}_teacher", data), tmp_path / "teacher").model
    torch.save(dict(state_dict=teacher.state_dict()), tmp_path / "teacher.pth")
    options = options_of(name, Config.fromfile(FOLDER / f"{name}.py"))
    options = options | {"model.teacher.checkpoint": tmp_path / "teacher.pth"}
    options["default_hooks.logger.interval"] = 1
    printed = run(
        *(sys.executable, "-m", "mmkd_ext", "compare", f"{name}.py", "--seeds", "0"),
        *("--epochs", "1", "--work-dir", "runs", "--data-root", data[family.partition("_")[0]]),
        *("--cfg-options", *(f"{key}={value}" for key, value in options.items())),
        cwd=tmp_path,
    )
    assert f"| {metric}, test split |" in (tmp_path / "runs" / "table.md").read_text()
    assert "[1/1]" in printed
    [result] = json.loads((tmp_path / "runs" / "results.json").read_text())["results"]
    assert {metric} <= set(result["val"]) & set(result["test"])
    assert result["step_seconds"] > 0
    assert (tmp_path / "runs" / f"{name}_seed0" / "epoch_1.pth").is_file()
