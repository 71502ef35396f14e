"""Every config of video object segmentation: a training step and a test, by mmengine's own loops."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmkd_ext import demo_data
from mmkd_ext.apis.config import load_config
from mmkd_ext.apis.shorten import epoch_options
from mmkd_ext.registry import DATASETS, MODELS
from mmkd_ext.vos.hooks.frame_skip import find_samplers
from mmkd_ext.vos.masks import read_mask
from tests.quiet_runner import quiet_runner

from .video_files import TWO, still, write_davis, write_meta, write_video

pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2] / "configs"
SIZE = (48, 64)
R50, R18 = 58_563_524, 36_729_796  # parameters of the published networks
S3, DAVIS, S0 = (2e-5, 150_000, [125_000]), (2e-5, 60_000, [50_000]), (1e-5, 300_000, [150_000])


class Expected(NamedTuple):
    """What is published, or would be noticed if it changed."""

    parameters: int | None = None  # of the network that is tested
    schedule: tuple[float, int, list[int]] | None = None
    final_skips: tuple[int, ...] = ()


EXPECTED = {
    "swem_r50_s0_static_300k": Expected(R50, S0),
    "swem_r50_s3_davis17-ytvos19_150k": Expected(R50, S3, (10, 2)),
    "swem_r50_davis17_60k": Expected(R50, DAVIS, (10,)),
    "swem_r50_test_ytvos19": Expected(R50, S3, (10, 2)),
    "swem_r18_s3_davis17-ytvos19_150k": Expected(R18, S3, (10, 2)),
    "mgd-kd_swem-r18_swem-r50_s3_davis17-ytvos19_150k": Expected(R18, S3, (10, 2)),
    "vos_digits_swem": Expected(final_skips=(1,)),
    "vos_digits_teacher": Expected(final_skips=(1,)),
    "vos_digits_baseline": Expected(final_skips=(1,)),
    "vos_digits_distill": Expected(final_skips=(1,)),
    "davis16_swem": Expected(final_skips=(10,)),  # without the hook
    "davis16_swem_overfit": Expected(final_skips=(10,)),
}
CONFIGS = {
    path.stem: path
    for pattern in ("vos/**/*.py", "demo/vos*.py", "real/davis*.py")
    for path in ROOT.glob(pattern)
}
PUBLISHED = [name for name in EXPECTED if name.startswith(("swem", "mgd"))]
TRAINED_AS_ANOTHER = ("swem_r50_test_ytvos19",)  # trains as its base does
TESTED_AS_ANOTHER = ("swem_r50_s3_davis17-ytvos19_150k",)  # as swem_r50_davis17_60k


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Tiny data of every layout, below ``data/``, where the published configs look for it."""
    root = tmp_path_factory.mktemp("vos")
    for split in ("train", "val", "test"):
        write_davis(root / "data/DAVIS", {f"{split}-v": TWO}, split=split, length=4)
    write_davis(root / "data/DAVIS", {f"v{n}": TWO for n in range(8)}, year=2016, length=4)
    tube = root / "data/YouTubeVOS2019"
    write_video(tube / "train_480p/JPEGImages/x", tube / "train_480p/Annotations/x", TWO, length=4)
    valid = tube / "valid"
    write_video(
        tube / "valid_all_frames/JPEGImages/y", valid / "Annotations/y", TWO, length=4, masked=[0]
    )
    frames = ["00000", "00002"]
    write_meta(valid / "meta.json", {"y": {1: ("cat", frames), 2: ("dog", frames)}})
    for group in ("BIG_small", "HRSOD_small", "FSS", "ECSSD", "DUTS"):
        still(root / "data/static", group, "one", (200, 10, 10))
    return root


@pytest.fixture(autouse=True)
def _at_the_data(data, monkeypatch):
    monkeypatch.chdir(data)


def without_downloads(cfg: Any) -> None:
    """Take every ``init_cfg`` off."""
    if isinstance(cfg, dict):
        cfg.pop("init_cfg", None)
        for value in cfg.values():
            without_downloads(value)


def shrink_pipelines(cfg: Any) -> None:
    """Crops of 64 pixels, wherever a pipeline stands."""
    if isinstance(cfg, dict):
        if str(cfg.get("type", "")).endswith(("Crop", "ResizeShort")):
            cfg["size"] = 64 if cfg["type"].endswith("Short") else (64, 64)
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for value in cfg:
            shrink_pipelines(value)


def tiny(name: str, folder: Path) -> Config:
    """The config with small frames, one clip, one step, and no weights from elsewhere."""
    cfg = load_config(CONFIGS[name])
    if "teacher" in cfg.model:
        teacher = load_config(cfg.model.teacher.config)
        without_downloads(teacher.model)
        cfg.model.teacher.config = {
            "model": teacher.model,
            "data_preprocessor": teacher.data_preprocessor,
        }
        cfg.model.teacher.checkpoint = None
    without_downloads(cfg.model)
    network = cfg.model.get("student", cfg.model)
    if "test_cfg" in network:
        network.test_cfg.size = SIZE
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.update(batch_size=1, num_workers=0, persistent_workers=False, pin_memory=False)
        if name.startswith("vos_digits"):
            dataset = loader.dataset.get("dataset", loader.dataset)
            dataset.update(data_root="data/DAVIS", indices=None)  # there is one video
            if dataset is not loader.dataset:
                loader.dataset.times = 1
    shrink_pipelines(cfg.train_dataloader)
    by_epoch = "max_epochs" in cfg.train_cfg
    cfg.train_cfg.update({"max_epochs" if by_epoch else "max_iters": 1})
    cfg.train_cfg.pop("val_interval")
    cfg.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    cfg.default_hooks.checkpoint.update(interval=10**9, save_last=False)
    cfg.default_hooks.logger.interval = 1
    cfg.experiment_name = f"{name}-{folder.name}"
    return cfg


def test_every_config_is_covered():
    assert set(CONFIGS) == set(EXPECTED)
    assert len(CONFIGS) == 12
    for name in CONFIGS:
        assert load_config(CONFIGS[name]).default_scope == "mmkd_ext"


@pytest.mark.parametrize("name", EXPECTED)
def test_it_trains_a_step_and_tests(name, tmp_path):
    runner = quiet_runner(tiny(name, tmp_path), tmp_path)
    if EXPECTED[name].parameters:
        own = (p for n, p in runner.model.named_parameters() if not n.startswith("distill."))
        assert sum(p.numel() for p in own) == EXPECTED[name].parameters
    if name not in TRAINED_AS_ANOTHER:
        check_training(runner, EXPECTED[name])
    if name not in TESTED_AS_ANOTHER:
        check_test(runner, archive=name == "swem_r50_test_ytvos19")


def check_training(runner: Runner, expected: Expected) -> None:
    before = runner.model.key_proj.weight.detach().clone()
    runner.train()
    assert runner.iter == 1
    assert not torch.equal(before, runner.model.key_proj.weight)
    samplers = find_samplers(runner.train_dataloader.dataset)
    assert tuple(s.skip for s in samplers) == expected.final_skips  # the hook reached them all
    logged = runner.message_hub.log_scalars
    terms = {key.removeprefix("train/") for key in logged if "loss_" in key}
    maps = ("f16", "context", "stride4", "kd") if "teacher" in runner.cfg.model else ()
    assert terms == {"loss_ce", "loss_iou", *(f"kd.loss_{m}" for m in maps)}
    assert all(0 < float(logged[f"train/{term}"].current()) < float("inf") for term in terms)


def check_test(runner: Runner, archive: bool) -> None:
    figures = runner.test()
    if not archive:
        assert 0 <= figures["davis/JF"] <= 1
        assert figures["davis/JF"] == pytest.approx((figures["davis/J"] + figures["davis/F"]) / 2)
        return
    assert figures == {}
    folder = Path(runner.cfg.test_evaluator.outfile_prefix)
    names = [f"Annotations/y/{frame}.png" for frame in ("00000", "00002")]
    with zipfile.ZipFile(folder.with_name("submission.zip")) as file:
        assert file.namelist() == names
    given = read_mask("data/YouTubeVOS2019/valid/Annotations/y/00000.png")
    assert (read_mask(folder / names[0]) == given).all()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_settings_are_the_published_ones(name):
    cfg, expected = load_config(CONFIGS[name]), EXPECTED[name]
    optimizer, (scheduler,) = cfg.optim_wrapper.optimizer, cfg.param_scheduler
    found = (optimizer.lr, cfg.train_cfg.max_iters, scheduler.milestones)
    assert found == expected.schedule
    assert (optimizer.type, optimizer.betas, optimizer.weight_decay) == (
        "AdamW",
        (0.9, 0.999),
        5e-4,
    )
    assert (scheduler.type, scheduler.gamma, scheduler.by_epoch) == ("MultiStepLR", 0.1, False)
    assert cfg.train_dataloader.batch_size == 8
    network = cfg.model.get("student", cfg.model)
    assert network.memory == dict(type="SWEMMemory", num_bases=128, iters=4, tau=0.05, topl=64)
    depth = 50 if expected.parameters == R50 else 18
    assert network.key_encoder.depth == depth
    weights = [part.init_cfg.checkpoint for part in (network.key_encoder, network.value_trunk)]
    assert weights == [f"torchvision://resnet{depth}", "torchvision://resnet18"]
    assert network.test_cfg.size == (480 if name == "swem_r50_test_ytvos19" else (480, 864))


def test_teacher_and_student_memorise_the_same_masks():
    for name in ("mgd-kd_swem-r18_swem-r50_s3_davis17-ytvos19_150k", "vos_digits_distill"):
        model = load_config(CONFIGS[name]).model
        assert model.teacher.student_inputs == "memorized(input)"
        teacher = load_config(model.teacher.config).model
        # Neither takes the ground truth, whose masks are resized in another way.
        assert {"memory_masks"}.isdisjoint({*model.student, *teacher})


def test_the_demo_can_be_shortened_and_finds_its_teacher():
    distilled = load_config(CONFIGS["vos_digits_distill"])
    teacher = load_config(CONFIGS["vos_digits_teacher"])
    path = Path(teacher.work_dir) / teacher.default_hooks.checkpoint.filename_tmpl
    assert Path(distilled.model.teacher.checkpoint) == path
    assert path.is_relative_to(demo_data.data_root())
    assert epoch_options(distilled, 20)["param_scheduler.1.end"] == 20
    # The student is the baseline; the teacher is larger, and the same network as vos_digits_swem.py.
    counts = {}
    for name in ("swem", "teacher", "baseline"):
        model = MODELS.build(load_config(CONFIGS[f"vos_digits_{name}"]).model)
        counts[name] = sum(p.numel() for p in model.parameters())
    assert counts["swem"] == counts["teacher"] > 3 * counts["baseline"]
    plain = load_config(CONFIGS["vos_digits_baseline"]).model
    assert distilled.model.student == plain
    # An epoch is as long as the teacher's, on a quarter of the clips.
    epochs = [load_config(CONFIGS[f"vos_digits_{name}"]) for name in ("teacher", "baseline")]
    datasets = [DATASETS.build(cfg.train_dataloader.dataset) for cfg in epochs]
    assert [len(dataset) for dataset in datasets] == [64, 64]
    names = [[dataset.get_data_info(i)["video"] for i in range(64)] for dataset in datasets]
    assert names[1] == names[0][:16] * 4
