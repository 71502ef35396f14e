"""Every config of optical flow: a training step and a test, by mmengine's own loops."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OneCycleLR
from mmengine.runner import Runner

from mmkd_ext.apis.config import load_config
from mmkd_ext.flow import read_flow
from mmkd_ext.flow.warm_start import forward_project
from mmkd_ext.registry import DATASETS
from tests.quiet_runner import quiet_runner

from . import flow_files

pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2] / "configs"
LARGE, SMALL, LCV = 5_257_536, 990_162, 32_896  # published; the last is what a cost volume adds
SUPERNET, FLOWNAS_S, FLOWNAS_K = 8_100_464, 5_071_824, 5_101_712
CHAIRS, THINGS = (4e-4, 1e-4, 100_000, 10), (1.25e-4, 1e-4, 100_000, 6)
SINTEL, KITTI = (1.25e-4, 1e-5, 100_000, 6), (1e-4, 1e-5, 50_000, 6)
CROP = (64, 72)


class Expected(NamedTuple):
    """What is published, or would be noticed if it changed.

    ``schedule``: highest rate, weight decay, steps, batch size.
    """

    parameters: int | None = None
    schedule: tuple[float, float, int, int] | None = None
    frozen: bool = False
    gamma: float = 0.8
    iters: int = 24


EXPECTED = {
    "raft_chairs_100k": Expected(LARGE, CHAIRS),
    "raft_things_100k": Expected(LARGE, THINGS, True, iters=32),
    "raft_sintel_100k": Expected(LARGE, SINTEL, True, 0.85, 32),
    "raft_kitti_50k": Expected(LARGE, KITTI, True, 0.85),
    "raft_sintel_submission": Expected(LARGE, SINTEL, True, 0.85, 32),
    "raft_kitti_submission": Expected(LARGE, KITTI, True, 0.85),
    "raft-small_chairs_100k": Expected(SMALL, CHAIRS),
    "raft-small_things_100k": Expected(SMALL, THINGS, iters=32),
    "lcv-raft_chairs_100k": Expected(LARGE + LCV, CHAIRS),
    "lcv-raft_things_100k": Expected(LARGE + LCV, THINGS, True, iters=32),
    "mgd-label_raft-small_raft_things_100k": Expected(SMALL, THINGS, iters=32),
    "flownas_supernet_chairs": Expected(SUPERNET, CHAIRS),
    "flownas_supernet_things": Expected(SUPERNET, THINGS, True, iters=32),
    "flownas_supernet_sintel": Expected(SUPERNET, SINTEL, True, 0.85, 32),
    "flownas_supernet_kitti": Expected(SUPERNET, KITTI, True, 0.85),
    "flownas_search_sintel": Expected(SUPERNET, SINTEL, True, 0.85, 12),
    "flownas_search_kitti": Expected(SUPERNET, KITTI, True, 0.85, 12),
    "flownas-raft-s_chairs_100k": Expected(FLOWNAS_S, CHAIRS),
    "flownas-raft-s_things_100k": Expected(FLOWNAS_S, THINGS, True, iters=32),
    "flownas-raft-s_sintel_100k": Expected(FLOWNAS_S, SINTEL, True, 0.85, 32),
    "flownas-raft-k_kitti_50k": Expected(FLOWNAS_K, KITTI, True, 0.85),
    "flow_digits_raft": Expected(),
    "flow_digits_lcv": Expected(),
    "flow_digits_teacher": Expected(),
    "flow_digits_baseline": Expected(),
    "flow_digits_distill": Expected(),
    "flow_digits_distill_unlabelled": Expected(),
    "flow_digits_flownas_supernet": Expected(),
    "flow_digits_flownas_search": Expected(),
    "flow_digits_flownas_subnet": Expected(),
    "flow_pairs_raft": Expected(),
}
CONFIGS = {
    path.stem: path
    for pattern in ("flow/**/*.py", "demo/flow*.py", "real/flow*.py")
    for path in ROOT.glob(pattern)
}
PUBLISHED = [name for name in EXPECTED if EXPECTED[name].schedule]
SLOW = (  # as others of their stage or kind
    "flownas_supernet_things",
    "flownas_supernet_sintel",
    "flownas-raft-s_things_100k",
    "flownas-raft-s_sintel_100k",
    "lcv-raft_things_100k",
)
SUBMISSIONS = ("raft_sintel_submission", "raft_kitti_submission")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Tiny data of every layout, below ``data/``, where the published configs look for it."""
    root = tmp_path_factory.mktemp("flow")
    sizes = dict(shape=(72, 80))
    flow_files.write_chairs(root / "data/FlyingChairs_release", **sizes)
    flow_files.write_chairs(root / "digits", **sizes)
    flow_files.write_chairs(root / "digits/test", **sizes)
    flow_files.write_things(root / "data/FlyingThings3D", cameras=("left",))
    flow_files.write_sintel(root / "data/Sintel", **sizes)
    flow_files.write_sintel(root / "data/Sintel", split="test", **sizes)
    (root / "data/Sintel/Sintel_train_val.txt").write_text("1\n1\n1\n1\n2\n")
    flow_files.write_kitti(root / "data/KITTI-2015", **sizes)
    flow_files.write_kitti(root / "data/KITTI-2015", count=2, split="testing", **sizes)
    flow_files.write_hd1k(root / "data/HD1K")
    scene = {"img1": "data/00001_img1.ppm", "img2": "data/00001_img2.ppm"}
    flow_files.write_list(
        root / "digits/flow_pairs.json", [scene | {"flow": "data/00001_flow.flo"}]
    )
    return root


@pytest.fixture(autouse=True)
def _at_the_data(data, monkeypatch):
    monkeypatch.chdir(data)


def shrink(cfg: Any, digits: bool) -> None:
    """Small crops, few iterations, and tiny digits, wherever they stand in a config."""
    if isinstance(cfg, dict):
        if "crop_size" in cfg:
            cfg["crop_size"] = CROP
        if "iters" in cfg:
            cfg["iters"] = 2
        if "random_subnets" in cfg:
            cfg["random_subnets"] = 0
        if "data_root" in cfg:
            cfg["serialize_data"] = False  # to do so, mmengine collects all garbage
        if digits and "data_root" in cfg:
            cfg["data_root"] = "digits/test" if cfg["data_root"].endswith("test") else "digits"
            cfg.pop("indices", None)
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for value in cfg:
            shrink(value, digits)


def tiny(name: str, folder: Path) -> Config:
    """The config with small images, two pairs, one step, and no weights from elsewhere."""
    cfg = load_config(CONFIGS[name])
    cfg.load_from = None
    for place in (cfg.model, cfg.test_cfg.get("distance") or {}):
        if "teacher" in place:
            teacher = load_config(place.teacher.config)
            place.teacher.config = {"model": teacher.model}
            place.teacher.checkpoint = None
    if is_search(cfg):
        cfg.test_cfg.update(population=1, mutation=1, crossover=0, max_epochs=1)
    for part in (cfg.model, cfg.train_dataloader, cfg.test_dataloader, cfg.test_cfg):
        shrink(part, name.startswith("flow_"))
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
    cfg.train_dataloader.batch_size = 4 if "unlabelled" in name else 1  # both kinds
    by_epoch = "max_epochs" in cfg.train_cfg
    cfg.train_cfg.update({"max_epochs" if by_epoch else "max_iters": 1})
    cfg.train_cfg.pop("val_interval")
    cfg.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    cfg.default_hooks.checkpoint.update(interval=10**9, save_last=False, save_best=None)
    cfg.default_hooks.logger.interval = 1
    cfg.experiment_name = f"{name}-{folder.name}"
    return cfg


def is_search(cfg: Config) -> bool:
    return cfg.test_cfg.get("type") == "mmkd_ext.EvolutionSearchLoop"


def test_every_config_is_covered():
    assert set(CONFIGS) == set(EXPECTED)
    for name in CONFIGS:
        assert load_config(CONFIGS[name]).default_scope == "mmkd_ext"


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in EXPECTED]
)
def test_it_trains_a_step_and_tests(name, tmp_path):
    runner = quiet_runner(tiny(name, tmp_path), tmp_path)
    if EXPECTED[name].parameters:
        own = (p for n, p in runner.model.named_parameters() if not n.startswith("distill."))
        assert sum(p.numel() for p in own) == EXPECTED[name].parameters
    if name in SUBMISSIONS:  # trains as its base does
        check_submission(runner, name)
        return
    searches = is_search(runner.cfg)
    if not searches:  # nor is that config trained with
        check_training(runner)
    figures = runner.test()
    assert figures["flow/EPE"] > 0
    if searches:
        assert figures["search/score"] > figures.get("distance", 0) >= 0
    both_passes = "sintel" in name or "things" in name
    assert ("flow/clean/EPE" in figures) == ("flow/final/EPE" in figures) == both_passes
    fl = {key: value for key, value in figures.items() if key.startswith("flow/Fl")}
    assert all(0 <= value <= 100 for value in fl.values())
    if "kitti" in name:
        assert set(fl) == {"flow/Fl_all", "flow/Fl_matched", "flow/Fl_unmatched"}


def check_training(runner: Runner) -> None:
    weight = runner.model.update_block.flow_head.conv2.weight
    before = weight.detach().clone()
    runner.train()
    assert not torch.equal(before, weight)
    logged = runner.message_hub.log_scalars
    terms = {key.removeprefix("train/") for key in logged if "loss_" in key}
    wanted = ["loss_flow", *(f"kd.loss_{name}" for name in runner.cfg.model.get("losses", ()))]
    if hasattr(runner.model, "sandwich"):
        wanted = [f"{name}.{term}" for name in runner.model.sandwich(0) for term in wanted]
    assert terms == set(wanted)
    assert all(0 < float(logged[f"train/{term}"].current()) < float("inf") for term in terms)


def check_submission(runner: Runner, name: str) -> None:
    assert runner.test() == {}
    folder = Path(runner.log_dir)
    if "sintel" in name:
        names = ["alley_1/frame0001", "alley_1/frame0002", *(f"cave_2/frame000{n}" for n in "123")]
        wanted = {f"{kind}/{path}.flo" for kind in ("clean", "final") for path in names}
        found = {str(path.relative_to(folder / "flow")) for path in folder.rglob("*.flo")}
        assert found == wanted
        assert read_flow(folder / "flow" / "clean/cave_2/frame0002.flo")[0].shape == (72, 80, 2)
        check_warm_start(runner, folder / "flow")
        return
    (archive,) = folder.rglob("submission.zip")
    with zipfile.ZipFile(archive) as file:
        assert file.namelist() == ["flow/000000_10.png", "flow/000001_10.png"]


def check_warm_start(runner: Runner, folder: Path) -> None:
    """The second pair of a scene begins with the flow of the first."""
    assert type(runner.test_dataloader.sampler).__name__ == "FlowSequenceSampler"
    model = runner.model.eval()
    dataset = runner.test_dataloader.dataset.datasets[0]
    low = None
    for item in (dataset[0], dataset[1]):
        data = model.data_preprocessor(dict(inputs=[item["inputs"]]))
        start = None if low is None else forward_project(low[0])[None]
        with torch.no_grad():
            flows, low = model.estimate(data["inputs"], model.test_cfg["iters"], start)
        written, _ = read_flow(folder / item["data_samples"].result_path)
        flow = flows[-1][0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(written, flow, atol=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_settings_are_the_published_ones(name):
    cfg, expected = load_config(CONFIGS[name]), EXPECTED[name]
    optimizer, (scheduler,) = cfg.optim_wrapper.optimizer, cfg.param_scheduler
    steps = cfg.train_cfg.max_iters
    found = (optimizer.lr, optimizer.weight_decay, steps, cfg.train_dataloader.batch_size)
    assert found == expected.schedule
    assert (optimizer.type, optimizer.eps, cfg.optim_wrapper.clip_grad.max_norm) == (
        "AdamW",
        1e-8,
        1,
    )
    assert scheduler == dict(
        type="OneCycleLR",
        eta_max=optimizer.lr,
        total_steps=steps + 100,
        pct_start=0.05,
        anneal_strategy="linear",
        by_epoch=False,
    )
    model = cfg.model.get("student", cfg.model)
    assert (model.iters, model.test_cfg.iters) == (12, expected.iters)
    assert model.get("freeze_bn", False) == expected.frozen
    assert (model.loss.gamma, model.loss.max_flow) == (expected.gamma, 400)


def test_the_rate_is_the_published_one():
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.AdamW([parameter], lr=4e-4)
    (config,) = load_config(CONFIGS["raft_chairs_100k"]).param_scheduler
    settings = {key: value for key, value in config.items() if key != "type"}
    scheduler = OneCycleLR(optimizer, **settings)
    # Published at 0, 1000, 5004 and 50000 (2.10733e-4); between the last two it falls linearly.
    wanted = {0: 1.6e-5, 1000: 9.27386e-5, 5004: 4e-4, 6000: 3.958103e-4}
    for step in range(6001):
        if step in wanted:
            assert optimizer.param_groups[0]["lr"] == pytest.approx(wanted.pop(step), rel=1e-5)
        optimizer.step()
        scheduler.step()
    assert not wanted


def test_the_mix_for_sintel():
    cfg = load_config(CONFIGS["raft_sintel_100k"])
    mix = DATASETS.build(cfg.train_dataloader.dataset)
    lengths = [len(dataset) for dataset in mix.datasets]
    # Tiny Sintel has 2 + 3 pairs a pass, KITTI 6, HD1K 2 + 1, Things 2 scenes x (3 + 3).
    assert lengths == [500, 500, 1200, 15, 12]
    crops = []
    for dataset in mix.datasets:
        pipeline = getattr(dataset, "dataset", dataset).pipeline.transforms
        by_name = {type(step).__name__: step for step in pipeline}
        crop, flip = by_name["FlowResizeCrop"], by_name["FlowRandomFlip"]
        assert tuple(crop.crop_size) == (368, 768)
        crops.append((*crop.scale_range, flip.vertical_prob))
    dense, kitti, hd1k = (-0.2, 0.6, 0.1), (-0.3, 0.5, 0.0), (-0.5, 0.2, 0.0)
    assert crops == [dense, dense, kitti, hd1k, dense]
