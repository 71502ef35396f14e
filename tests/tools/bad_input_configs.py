"""Bad command lines, configs and data: each furnishes a room and returns a command to fail in it."""

from __future__ import annotations

import os
import sys

from .bad_input import LOG, ROOT, Room, case

# ------------------------------------------------------------------ the command line and the config


@case("Config nowhere/run.py does not exist in {room}")
def missing_config(room: Room) -> list[str]:
    return room.train(config="nowhere/run.py")


@case("Config cls_digits_distil does not exist", "Close: cls_digits_distill.py")
def unknown_config_name(room: Room) -> list[str]:
    return [sys.executable, "-m", "mmkd_ext", "train", "cls_digits_distil"]


@case("no command 'trian'", "Did you mean 'train'?")
def unknown_command(room: Room) -> list[str]:
    return [sys.executable, "-m", "mmkd_ext", "trian", "cls_digits_distill"]


@case("Config {room}/run.py, line 3", "cannot be read")
def syntax_error_in_config(room: Room) -> list[str]:
    return room.train(config=room.config("model = dict(\n  losses=[)"))


@case("{room}/run.py", "base './no_such_base.py'", "no file")
def missing_base_config(room: Room) -> list[str]:
    (room.path / "run.py").write_text("_base_ = './no_such_base.py'")
    return room.train(config="run.py")


@case("--cfg-options takes KEY=VALUE, but got 'max_epochs'")
def option_without_value(room: Room) -> list[str]:
    return room.set("max_epochs")


@case("Mixed precision needs an accelerator", "Drop --amp")
def amp_without_gpu(room: Room) -> list[str]:
    return room.train("--amp")


@case("--launcher pytorch", "RANK, WORLD_SIZE is not set", "tools/dist_train.sh")
def launcher_without_torchrun(room: Room) -> list[str]:
    return room.train("--launcher", "pytorch")


@case("--work-dir work is a file; name a folder")
def work_dir_is_a_file(room: Room) -> list[str]:
    (room.path / "work").write_text("precious")
    return room.train()


@case("--resume work/epoch_7.pth: there is no such file", "latest checkpoint of work")
def resume_from_nothing(room: Room) -> list[str]:
    room.earlier_run()
    return room.train("--resume", "work/epoch_7.pth")


@case("--data-root nowhere does not exist", "{room}/nowhere")
def missing_data_root(room: Room) -> list[str]:
    return room.train("--data-root", "nowhere")


# ------------------------------------------------------------------------------ the Distiller's own


@case("losses['mgd']", "tap 'backbone.layr4'", "did you mean 'backbone.layer4'", leaves=LOG)
def misspelt_tap(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.losses.mgd.tap=backbone.layr4")


@case("losses['nkd']", "tap 'data_preprocessor' of the student never fired", leaves=LOG)
def tap_that_never_fires(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.losses.nkd.tap=data_preprocessor")


@case(
    "losses['mgd']",
    "'backbone.layer1'",
    "carries no gradient",
    "tap a trained module",
    leaves=LOG,
    slow=True,
)
def tap_of_a_frozen_stage(room: Room) -> list[str]:
    room.earlier_run()
    return room.set(
        "model.student.backbone.frozen_stages=1", "model.losses.mgd.tap=backbone.layer1"
    )


@case("losses['mgd']", "'backbone.bn1'", "changed in place", "inplace=False", leaves=LOG, slow=True)
def tap_changed_in_place(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.losses.mgd.tap=backbone.bn1")


@case("losses['mgd']", "backbone.layer3", "8, 8", "4, 4", leaves=LOG)
def spatial_mismatch(room: Room) -> list[str]:
    room.earlier_run()
    return room.set(
        "model.losses.mgd.tap.student=backbone.layer3",
        "model.losses.mgd.tap.teacher=backbone.layer4",
        config=room.config("model = dict(losses=dict(mgd=dict(tap=dict(_delete_=True))))"),
    )


@case("losses['mgd']", "unknown loss type 'MDGLoss'", "did you mean 'MGDLoss'?", leaves=LOG)
def unknown_loss_type(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.losses.mgd.type=MDGLoss")


@case("losses['nkd']", "'temprature'", "did you mean 'temperature'", leaves=LOG)
def misspelt_loss_argument(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.losses.nkd.temprature=2.0")


@case(
    "Distiller",
    "'student_loss_wieght'",
    "did you mean 'student_loss_weight'",
    leaves=LOG,
    slow=True,
)
def misspelt_distiller_argument(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.student_loss_wieght=0.5")


@case("teacher", "'chekpoint'", "did you mean 'checkpoint'", leaves=LOG, slow=True)
def misspelt_teacher_argument(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.teacher.chekpoint=t.pth")


@case("losses['mgd']", "schedule 'exponential'", "warmup, linear, cosine", leaves=LOG, slow=True)
def unknown_schedule(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.losses.mgd.schedule.type=exponential")


@case("losses['mgd']", "'ends'", "did you mean 'end'", leaves=LOG, slow=True)
def misspelt_schedule_argument(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.losses.mgd.schedule.type=cosine", "model.losses.mgd.schedule.ends=3")


@case("ResNet_CIFER", "Did you mean ResNet_CIFAR", leaves=LOG, slow=True)
def unknown_student_backbone(room: Room) -> list[str]:
    room.earlier_run()
    return room.set("model.student.backbone.type=ResNet_CIFER")


# --------------------------------------------------------------------------------------------- data


@case("Found 0 files", "{room}/data/train", "Supported extensions", leaves=LOG, slow=True)
def folder_without_images(room: Room) -> list[str]:
    room.earlier_run()
    for file in (room.data() / "train").rglob("*.png"):
        file.unlink()
    return room.train("--data-root", "data")


@case("The dataset CustomDataset is empty", "{room}/data/none.txt", leaves=LOG)
def empty_annotation_file(room: Room) -> list[str]:
    room.earlier_run()
    (room.data() / "none.txt").touch()
    config = room.config("train_dataloader = dict(dataset=dict(ann_file='none.txt'))")
    return room.train("--data-root", "data", config=config)


@case("{room}/data/train", "--data-root", leaves=LOG, slow=True)
def data_root_without_the_data(room: Room) -> list[str]:
    room.earlier_run()
    (room.path / "data").mkdir()
    return room.train("--data-root", "data")


@case("{room}/data/train/3/3.png cannot be read", "corrupt", leaves=LOG, slow=True)
def corrupt_image(room: Room) -> list[str]:
    room.earlier_run()
    (room.data() / "train/3/3.png").write_bytes(b"no picture")
    return room.train("--data-root", "data")


@case("{room}/data/train/3/3.png cannot be read", "corrupt", leaves=LOG)
def corrupt_image_in_a_loading_process(room: Room) -> list[str]:
    room.earlier_run()
    (room.data() / "train/3/3.png").write_bytes(b"no picture")
    return room.train("--data-root", "data", "--cfg-options", "train_dataloader.num_workers=1")


@case("the label 12", "10 classes", "num_classes", leaves=LOG)
def label_out_of_range(room: Room) -> list[str]:
    room.earlier_run()
    lines = [f"{index % 10}/{index}.png 12\n" for index in range(20)]
    (room.data() / "labels.txt").write_text("".join(lines))
    config = room.config("train_dataloader = dict(dataset=dict(ann_file='labels.txt'))")
    return room.train("--data-root", "data", config=config)


# ------------------------------------------------------------------------------- no fault of theirs


@case("ZeroDivisionError: division by zero", "my_hooks.py", leaves=LOG, code=1)
def bug_in_a_users_hook(room: Room) -> list[str]:
    room.earlier_run()
    (room.path / "my_hooks.py").write_text(
        "from mmengine.hooks import Hook\n"
        "from mmengine.registry import HOOKS\n"
        "@HOOKS.register_module()\n"
        "class MyHook(Hook):\n"
        "    def before_train(self, runner):\n"
        "        1 / 0\n"
    )
    room.environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(room.path)])
    config = "custom_imports = dict(imports=['my_hooks'])\ncustom_hooks = [dict(type='MyHook')]"
    return room.train(config=room.config(config))
