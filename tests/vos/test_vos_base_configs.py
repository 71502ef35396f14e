"""The dataset configs of ``configs/_base_``, built on files of the layout that they expect."""

from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from mmkd_ext.registry import DATASETS

from .video_files import TWO, still, write_davis, write_video

BASES = Path(__file__).parents[2] / "configs" / "_base_" / "datasets"


def config(name: str) -> Config:
    return Config.fromfile(BASES / f"{name}.py")


def first_batch(loader_cfg: dict, **changes) -> dict:
    plain = dict(num_workers=0, persistent_workers=False, pin_memory=False, batch_size=2)
    return next(iter(Runner.build_dataloader({**loader_cfg, **plain, **changes}, seed=0)))


def test_the_published_main_training_reads_both_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    davis = Path("data/DAVIS")
    for split in ("train", "val"):
        write_davis(davis, {f"{split}-v": TWO}, split=split, shape=(60, 100))
    root = Path("data/YouTubeVOS2019/train_480p")
    for name in ("x", "y"):
        write_video(root / "JPEGImages" / name, root / "Annotations" / name, TWO, shape=(60, 100))
    cfg = config("davis17_ytvos19")
    batch = first_batch(cfg.train_dataloader)
    assert [clip.shape for clip in batch["inputs"]] == [(3, 3, 384, 384)] * 2
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 1 * 5 + 2
    skips = {
        d.pipeline.transforms[0].max_skip
        for d in (dataset.datasets[0].dataset, dataset.datasets[1])
    }
    assert skips == {25, 5}
    frame = first_batch(cfg.val_dataloader, batch_size=1)
    assert frame["inputs"][0].shape == (3, 60, 100)
    assert frame["data_samples"][0].video == "val-v"


def test_the_other_base_configs_read_their_layouts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    davis = Path("data/DAVIS")
    for year in (2016, 2017):
        for split in ("train", "val"):
            write_davis(davis, {f"{year}-{split}": TWO}, year=year, split=split)
    own = Path("data/my_videos")
    for split in ("train", "val"):
        write_video(own / "JPEGImages" / split, own / "Annotations" / split, TWO)
        (own / "ImageSets").mkdir(exist_ok=True)
        (own / "ImageSets" / f"{split}.txt").write_text(f"{split}\n")
    for group in ("BIG_small", "HRSOD_small", "FSS", "ECSSD", "DUTS"):
        still(Path("data/static"), group, "one", (200, 10, 10))
    for name, numbers in (
        ("davis16", [0, 1]),
        ("davis17", [0, 1, 2]),
        ("davis_like_folder", [0, 1, 2]),
    ):
        cfg = config(name)
        clip = first_batch(cfg.train_dataloader, batch_size=1)
        assert clip["inputs"][0].shape == (3, 3, 384, 384)
        sample = first_batch(cfg.val_dataloader, batch_size=1)["data_samples"][0]
        assert sample.given_mask.unique().tolist() == numbers
        assert sample.gt_mask.unique().tolist() == numbers
    batch = first_batch(config("static").train_dataloader)
    assert [clip.shape for clip in batch["inputs"]] == [(3, 3, 384, 384)] * 2
    assert [s.valid_objects.shape for s in batch["data_samples"]] == [(2,)] * 2
