"""Saving that survives kills, and resuming that survives what kills and disks leave."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from mmkd_ext.distill.checkpoint import CheckpointError, is_readable, read_checkpoint
from mmkd_ext.hooks.resume_point import check_explicit, choose_latest

RUN = dict(seed=3)
TEMPLATES = ("epoch_{}.pth", "iter_{}.pth")


class Sentinel:
    """Pickled code: creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def poison(path: Path, sentinel: Path) -> None:
    checkpoint = torch.load(path, weights_only=False)
    torch.save({**checkpoint, "code": Sentinel(sentinel)}, path)


def flip_a_bit(path: Path) -> None:
    """In the middle of a tensor: the file still loads, with another number in it."""
    weights = read_checkpoint(path)["state_dict"]["body.0.weight"].numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.find(weights) + 3] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=False)


def copy_of(runs, source: str, name: str) -> Path:
    """A work directory copied as a user copies one: the record still names the old place."""
    folder = runs.folder / name
    shutil.copytree(runs.folder / source, folder)
    record = folder / "last_checkpoint"
    record.write_text(record.read_text().replace(str(runs.folder / source), str(folder)))
    return folder


def test_killed_while_writing(runs):
    spec = dict(**RUN, max_keep_ckpts=1, epochs=3)
    # Epoch 2 ends after iteration 11. One run is killed from outside when the file begins to
    # grow, one by its own pickling.
    specs = {
        "whole": spec,
        "outside": dict(**spec, heavy_since=10, killed_when_there_is=".epoch_2.pth.tmp-*"),
        "inside": dict(**spec, kill_in_save_at=10),
    }
    codes = runs(specs)
    assert codes == {"whole": [0], "outside": [-9], "inside": [-9]}
    for name in ("outside", "inside"):
        folder = runs.folder / name
        assert (
            is_readable(folder / "epoch_1.pth") is None
            or is_readable(folder / "epoch_2.pth") is None
        )
        recorded = (folder / "last_checkpoint").read_text()
        assert is_readable(recorded) is None
    resumed = {
        f"{name}.resumed": dict(**spec, work_dir=name, resume=True)
        for name in ("outside", "inside")
    }
    assert runs(resumed) == {"outside.resumed": [0], "inside.resumed": [0]}
    for name in ("outside", "inside"):
        assert runs.differences("whole", f"{name}.resumed") == []
        # Neither the half-written file nor one too many remains.
        files = sorted(path.name for path in (runs.folder / name).glob("*.pth"))
        assert [file for file in files if file.startswith("epoch")] == ["epoch_3.pth"]
        assert not list((runs.folder / name).glob(".*.tmp-*"))


def test_old_files_go_after_new_ones_stand(runs):
    spec = dict(**RUN, max_keep_ckpts=1, witness=True, epochs=3)
    assert runs({"run": spec, "out": dict(**spec, out_dir=str(runs.folder / "elsewhere"))}) == {
        "run": [0],
        "out": [0],
    }
    witnessed = [
        json.loads(line)
        for line in (runs.folder / "run" / "witness.jsonl").read_text().splitlines()
    ]
    # Each epoch: the epoch's file, the best one, and the epoch's again with the new best score.
    assert len(witnessed) == 9
    for iteration, names in witnessed[1:]:
        assert sum(name.startswith("epoch") for name in names) >= 1, iteration
    for iteration, names in witnessed[2:]:
        assert sum(name.startswith("best") for name in names) >= 1, iteration
    left = sorted(path.name for path in (runs.folder / "run").glob("*.pth"))
    assert left == ["best_score_epoch_3.pth", "epoch_3.pth"]
    for name in left:
        assert is_readable(runs.folder / "run" / name) is None
    last = read_checkpoint(runs.folder / "run" / "epoch_3.pth")
    assert len(last["random_state"]) == 1
    assert last["message_hub"]["runtime_info"]["best_ckpt"].endswith("best_score_epoch_3.pth")
    assert "random_state" not in read_checkpoint(runs.folder / "run" / "best_score_epoch_3.pth")
    # `out_dir` gets the run's name below it; `last_checkpoint` stays in the work directory.
    out = runs.folder / "elsewhere" / "out"
    assert sorted(path.name for path in out.glob("*.pth")) == left
    recorded = (runs.folder / "out" / "last_checkpoint").read_text()
    assert recorded == str(out / "epoch_3.pth")


def test_broken_files_on_resume(runs, tmp_path):
    spec = dict(**RUN, epochs=3)
    first = dict(**spec, max_keep_ckpts=-1, published_keys=["meta", "state_dict"])
    assert runs({"first": first}) == {"first": [0]}
    sentinel = tmp_path / "executed"

    truncate(copy_of(runs, "first", "truncated") / "epoch_3.pth")
    flip_a_bit(copy_of(runs, "first", "flipped") / "epoch_3.pth")
    poison(copy_of(runs, "first", "poisoned") / "epoch_3.pth", sentinel)
    cut, bad = tmp_path / "cut.pth", tmp_path / "bad.pth"
    for path in (cut, bad):
        shutil.copy(runs.folder / "first" / "epoch_3.pth", path)
    truncate(cut)
    poison(bad, sentinel)
    (copy_of(runs, "first", "two") / "epoch_3.pth").write_bytes(b"")
    truncate(runs.folder / "two" / "epoch_2.pth")
    (copy_of(runs, "first", "unrecorded") / "last_checkpoint").unlink()
    folder = copy_of(runs, "first", "all")
    for path in folder.glob("epoch_*.pth"):
        truncate(path)
    falling = {"truncated": 2, "flipped": 2, "poisoned": 2, "two": 1}
    specs = {name: dict(**spec, resume=True) for name in [*falling, "unrecorded", "all", "empty"]}
    named = dict(**spec, work_dir="named")
    specs["load_poisoned"] = dict(**named, load_from=str(bad))
    specs["resume_truncated"] = dict(**named, load_from=str(cut), resume=True)
    published = next((runs.folder / "first").glob("epoch_3-*.pth"))
    best = str(runs.folder / "first" / "best_score_epoch_3.pth")
    specs["resume_best"] = dict(**spec, load_from=best, resume=True)
    specs["resume_published"] = dict(**named, load_from=str(published), resume=True)
    codes = runs(specs)

    for name, epoch in falling.items():
        log = runs.log(name)
        assert codes[name] == [0], log
        fallen = next(line for line in log.splitlines() if "FALLING BACK" in line)
        assert "WARNING" in fallen
        assert str(runs.folder / name / f"epoch_{epoch}.pth") in fallen
        assert f"{runs.folder / name / 'epoch_3.pth'} cannot be resumed from" in fallen
        # Trained anew from there, it ends where the first run ended.
        assert runs.differences("first", name) == []
    assert "posix.mkdir" in runs.log("poisoned")
    assert "is empty (0 bytes)" in runs.log("two")
    assert codes["unrecorded"] == [0]
    assert "FALLING BACK" not in runs.log("unrecorded")
    assert "starts from scratch" not in runs.log("unrecorded")
    assert codes["empty"] == [0]
    assert "Nothing to resume" in runs.log("empty")
    assert "starts from scratch" in runs.log("empty")

    refusals = {
        "all": "none of the 3 checkpoint(s)",
        "load_poisoned": "MMKD_TRUST_CHECKPOINTS=1",
        "resume_truncated": "corrupt, truncated",
        "resume_published": "no training progress",
    }
    for name, message in refusals.items():
        assert codes[name] == [1]
        last = runs.log(name).strip().splitlines()[-1]
        assert last.startswith("mmkd_ext.distill.checkpoint.CheckpointError: "), last
        assert message in last
    assert not sentinel.exists()  # the code never ran
    assert codes["resume_best"] == [0]
    assert "with a fresh optimizer" in runs.log("resume_best")
    # A published file holds what was asked for, under its own hash.
    assert set(torch.load(published)) == {"meta", "state_dict"}
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert published.stem == f"epoch_3-{digest[:8]}"


# ------------------------------------------------------------------ the choice, without training


def write(path: Path, epoch: int = 1, age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {"epoch": epoch, "iter": epoch}
    torch.save({"meta": meta, "state_dict": {}, "message_hub": {}}, path)
    stamp = 1_700_000_000 - age
    os.utime(path, (stamp, stamp))
    return path


def test_latest_written_but_not_yet_recorded(tmp_path):
    old = write(tmp_path / "epoch_9.pth", age=10)
    new = write(tmp_path / "epoch_10.pth", age=0)
    (tmp_path / "last_checkpoint").write_text(str(old))
    assert choose_latest([tmp_path], TEMPLATES).path == str(new)
    # ... and it may be broken, then the recorded one is next.
    truncate(new)
    choice = choose_latest([tmp_path], TEMPLATES)
    assert choice.path == str(old)
    assert str(new) in choice.warnings[0]


def test_left_overs_of_an_earlier_run_are_not_the_newest(tmp_path):
    write(tmp_path / "epoch_50.pth", age=1000)
    recorded = write(tmp_path / "epoch_3.pth", age=5)
    (tmp_path / "last_checkpoint").write_text(str(recorded))
    assert choose_latest([tmp_path], TEMPLATES).path == str(recorded)


@pytest.mark.parametrize("record", [None, "", "{}/gone/epoch_7.pth"])
def test_no_usable_record(tmp_path, record):
    write(tmp_path / "epoch_2.pth", age=3)
    newest = write(tmp_path / "epoch_11.pth", age=9)
    write(tmp_path / "best_acc_epoch_12.pth")
    if record is not None:
        (tmp_path / "last_checkpoint").write_text(record.format(tmp_path))
    choice = choose_latest([tmp_path], TEMPLATES)
    assert choice.path == str(newest)
    assert bool(choice.warnings) == bool(record)


def test_the_record_names_what_was_moved(tmp_path):
    write(tmp_path / "epoch_3.pth", age=3)
    moved = write(tmp_path / "epoch_2.pth", age=1)
    (tmp_path / "last_checkpoint").write_text("/somewhere/else/epoch_2.pth")
    assert choose_latest([tmp_path], TEMPLATES).path == str(moved)


def test_nothing_left_of_what_is_recorded(tmp_path):
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_2.pth"))
    with pytest.raises(CheckpointError, match=r"Delete .*last_checkpoint to start from scratch"):
        choose_latest([tmp_path], TEMPLATES)


def test_weights_alone_cannot_be_resumed_from(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(1)}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"no training progress.*load_from"):
        check_explicit(str(tmp_path / "w.pth"), resume=True)
    assert check_explicit(str(tmp_path / "w.pth"), resume=False).path is None
    assert check_explicit("https://example.com/w.pth", resume=False).path is None


def test_a_training_of_no_steps_is_refused(tmp_path):
    from .tiny_run import config, loader, run

    hook = dict(checkpoint=dict(type="mmkd_ext.CheckpointHook"))
    changes = dict(train_dataloader=dict(loader(batch_size=10_000), drop_last=True))
    with pytest.raises(ValueError, match=r"samples, not enough for one batch of 10000"):
        run(config(tmp_path, default_hooks=hook, **changes))
    assert not list(tmp_path.rglob("*.pth"))
