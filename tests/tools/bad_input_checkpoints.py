"""Bad teachers and checkpoints: each furnishes a room and returns a command to fail in it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from .bad_input import LOG, Room, case

# -------------------------------------------------------------------------------------- the teacher


@case("Config my_teacher.py does not exist in {room}", leaves=LOG)
def missing_teacher_config(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.teacher.config=my_teacher.py")


@case("'mmpretrane'", "no such module is installed", "mmpretrain", leaves=LOG, slow=True)
def unknown_package_of_teacher_config(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.teacher.config=mmpretrane::resnet/resnet18_8xb32_in1k.py")


@case(
    "teacher: Checkpoint {room}/teachers/t.pth does not exist",
    "Train it first: python -m mmkd_ext train cls_digits_teacher.py",
    leaves=LOG,
)
def missing_teacher_checkpoint(room: Room) -> list[str]:
    room.earlier_run()
    return room.set(f"model.teacher.checkpoint={room.path}/teachers/t.pth")


@case("teacher:", "another network", "the model wants", "config", leaves=LOG)
def teacher_of_other_width(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.teacher.config=mmkd_ext::demo/cls_digits_baseline.py")


@case("teacher:", "not one key of other.pth", "features.0.weight", leaves=LOG)
def teacher_checkpoint_of_another_model(room: Room) -> list[str]:
    room.earlier_run()
    room.save("other.pth", {"state_dict": _other_weights()})
    return room.set("model.teacher.checkpoint=other.pth")


@case("teacher: Checkpoint cut.pth cannot be read", "truncated", "copy the file again", leaves=LOG)
def truncated_teacher_checkpoint(room: Room) -> list[str]:
    room.earlier_run()
    _truncate(room.shared.teacher, room.path / "cut.pth")
    return room.set("model.teacher.checkpoint=cut.pth")


@case("Checkpoint bad.pth was refused", "pickled Python code", "MMKD_TRUST_CHECKPOINTS", leaves=LOG)
def code_in_teacher_checkpoint(room: Room) -> list[str]:
    room.earlier_run()
    room.save("bad.pth", {"state_dict": room.teacher_weights(), "meta": Payload(room.path)})
    return room.set("model.teacher.checkpoint=bad.pth")


@case("teacher: nan.pth", "NaN", "head.fc.bias", leaves=LOG)
def nan_in_teacher_weights(room: Room) -> list[str]:
    room.earlier_run()
    room.save("nan.pth", {"state_dict": room.teacher_weights(head__fc__bias=float("nan"))})
    return room.set("model.teacher.checkpoint=nan.pth")


@case("losses['nkd']", "the teacher's output holds NaN or infinity", leaves=LOG)
def teacher_whose_output_is_not_finite(room: Room) -> list[str]:
    room.earlier_run()
    huge = room.teacher_weights(head__fc__weight=3e38, head__fc__bias=3e38)
    room.save("huge.pth", {"state_dict": huge})
    return room.set("model.teacher.checkpoint=huge.pth")


# -------------------------------------------------------------------------------------- checkpoints


@case("other.pth is a checkpoint of another network", "features.0.weight", leaves=LOG, slow=True)
def load_from_another_model(room: Room) -> list[str]:
    room.earlier_run()
    room.save("other.pth", {"state_dict": _other_weights()})
    return room.set("load_from=other.pth")


@case("other.pth is a checkpoint of another network", "features.0.weight", leaves=LOG)
def load_from_another_model_without_distiller(room: Room) -> list[str]:
    room.earlier_run()
    room.save("other.pth", {"state_dict": _other_weights()})
    return room.set("load_from=other.pth", config=str(room.shared.folder / "baseline.py"))


@case("No weight of other.pth belongs to this ImageClassifier", "features.0.weight", leaves=LOG)
def test_of_another_model(room: Room) -> list[str]:
    room.earlier_run()
    room.save("other.pth", {"state_dict": _other_weights()})
    return room.test("other.pth")


@case("is of another network", "have another shape", "backbone.conv1.weight", leaves=LOG, slow=True)
def test_of_another_width(room: Room) -> list[str]:
    room.earlier_run()
    return room.test(str(room.shared.teacher))


@case("Checkpoint empty.pth is empty (0 bytes)", "earlier checkpoint", leaves=LOG, slow=True)
def test_of_an_empty_file(room: Room) -> list[str]:
    room.earlier_run()
    (room.path / "empty.pth").touch()
    return room.test("empty.pth")


@case(
    "Checkpoint work/epoch_2.pth does not exist",
    "The folder holds epoch_1.pth",
    leaves=LOG,
    slow=True,
)
def test_of_a_missing_file(room: Room) -> list[str]:
    room.earlier_run()
    return room.test("work/epoch_2.pth")


@case("Checkpoint bad.pth was refused", "pickled Python code", "MMKD_TRUST_CHECKPOINTS", leaves=LOG)
def code_in_tested_checkpoint(room: Room) -> list[str]:
    room.earlier_run()
    room.save("bad.pth", _with(room, meta=Payload(room.path)))
    return room.test("bad.pth")


@case("Checkpoint work/bad.pth was refused", "pickled Python code", leaves=LOG)
def code_in_resumed_checkpoint(room: Room) -> list[str]:
    room.earlier_run()
    room.save("work/bad.pth", _with(room, optimizer=Payload(room.path)))
    return room.train("--resume", "work/bad.pth")


@case("Cannot resume", "epoch_1.pth cannot be read", "truncated", "start from scratch", leaves=LOG)
def truncated_checkpoint_to_resume(room: Room) -> list[str]:
    _truncate(room.shared.checkpoint, room.earlier_run())
    return room.train("--resume")


@case(
    "teacher.pth holds weights but no training progress", "use `load_from`", leaves=LOG, slow=True
)
def weights_to_resume(room: Room) -> list[str]:
    room.earlier_run()
    return room.train("--resume", str(room.shared.teacher))


@case("Checkpoint work/epoch_2.pth does not exist", "The folder holds epoch_1.pth")
def export_of_a_missing_file(room: Room) -> list[str]:
    room.earlier_run()
    return room.export(str(room.shared.folder / "distill.py"), "work/epoch_2.pth")


@case("not a checkpoint of this config's student", "shape", slow=True)
def export_of_another_model(room: Room) -> list[str]:
    room.earlier_run()
    distill = str(room.shared.folder / "distill.py")
    return room.export(distill, str(room.shared.teacher), "--out", "work/student.pth")


@case("baseline.py", "not a Distiller", "a stock one already")
def export_without_distiller(room: Room) -> list[str]:
    room.earlier_run()
    return room.export(str(room.shared.folder / "baseline.py"), "work/epoch_1.pth")


@case("Training diverged", "NaN", "last good one is work/epoch_1.pth", "learning rate", leaves=LOG)
def training_that_diverges(room: Room) -> list[str]:
    # Resumed, with room for one checkpoint: the good one must not make way for one of NaN.
    room.earlier_run()
    options = ("train_cfg.max_epochs=2", "model.student_loss_weight=1e39")
    return room.train("--resume", "--data-root", str(room.shared.data), "--cfg-options", *options)


# ------------------------------------------------------------------------------------------ helpers


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder / "the_code_ran"),)


def _other_weights() -> dict[str, torch.Tensor]:
    return {"features.0.weight": torch.ones(4, 3, 3, 3), "features.0.bias": torch.ones(4)}


def _with(room: Room, **entries: object) -> dict:
    return torch.load(room.shared.checkpoint, weights_only=False) | entries


def _truncate(source: Path, target: Path) -> None:
    content = source.read_bytes()
    target.write_bytes(content[: len(content) // 2])
