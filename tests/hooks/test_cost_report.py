from __future__ import annotations

import copy
import re

import pytest
import torch
from mmengine.analysis import FlopAnalyzer, get_model_complexity_info
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmkd_ext.hooks.costs import cost_table, count_costs
from mmkd_ext.hooks.macs import counting_macs
from mmkd_ext.registry import DATASETS, HOOKS, MODELS
from tests.configs import seg_configs
from tests.distill import stock_models

from .tiny_run import TEACHER, Squares, classifier, config, good_teacher, log_of, run, tensors_of

REPORT = dict(type="mmkd_ext.CostReportHook", iterations=2, warmup=1)
# By hand: 16 x 16 images, a stride of 2 before the maps, widths 4 and 12, kernels 3 x 3.
STUDENT_STEM, STUDENT_BODY, STUDENT_HEAD = 8 * 8 * 3 * 4 * 9, 8 * 8 * 4 * 4 * 9, 4 * 4
TEACHER_STEM, TEACHER_BODY = 8 * 8 * 3 * 12 * 9, 8 * 8 * 12 * 12 * 9


def report_of(runner):
    return next(hook for hook in runner.hooks if type(hook).__name__ == "CostReportHook")


def test_the_table_by_hand(tmp_path):
    runner = run(config(tmp_path, [REPORT]))
    student, teacher, loss = report_of(runner).rows
    assert student.macs == STUDENT_STEM + STUDENT_BODY + STUDENT_HEAD
    # Not its head: the teacher stops at its last tap.
    assert teacher.macs == TEACHER_STEM + TEACHER_BODY
    assert loss.macs == 8 * 8 * 4 * 12
    own = sum(p.numel() for p in runner.model.student.parameters())
    assert (student.parameters, student.trained, student.saved) == (own, own, True)
    assert teacher.parameters == sum(p.numel() for p in runner.model.teacher.parameters())
    assert (teacher.trained, teacher.saved) == (0, False)
    assert loss.parameters == loss.trained == 4 * 12 + 12 + 2 * 12
    log = log_of(runner)
    assert log.count("Cost of distillation") == 1
    added = teacher.macs + loss.macs
    assert f"{added / 1e3:.4g} k (+{added / student.macs:.0%})" in log
    assert "teacher, to backbone.body" in log


def test_the_times(tmp_path):
    runner = run(config(tmp_path, [REPORT]))
    seconds = report_of(runner).seconds
    assert seconds["teachers"] > 0
    assert seconds["losses"] > 0
    assert seconds["teachers"] + seconds["losses"] < seconds["step"]
    assert "average of iterations 2 to 3, this process" in log_of(runner)
    # Nothing is left on the networks.
    model = runner.model
    assert "run" not in vars(model.teachers["teacher"])
    assert not any(m._forward_hooks for m in model.distill.values())
    assert not any(m._forward_pre_hooks for m in model.distill.values())


def test_the_times_of_a_short_run(tmp_path):
    runner = run(config(tmp_path / "cut", [dict(REPORT, iterations=50)]))
    assert "average of iterations 2 to 4" in log_of(runner)
    assert "run" not in vars(runner.model.teachers["teacher"])
    runner = run(config(tmp_path / "none", [dict(REPORT, warmup=50)]))
    assert "training ended within the 50 warm-up steps" in log_of(runner)
    runner = run(config(tmp_path / "table", [dict(REPORT, iterations=0)]))
    assert "a step takes" not in log_of(runner)


def test_training_is_bitwise_the_same(tmp_path):
    teacher = dict(config=TEACHER, mode="train")
    plain = run(config(tmp_path / "plain", teacher=teacher))
    reported = run(config(tmp_path / "reported", [REPORT], teacher=teacher))
    before, after = tensors_of(plain), tensors_of(reported)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    theirs = dict(plain.model.teacher.named_buffers())
    ours = dict(reported.model.teacher.named_buffers())
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_what_cannot_be_counted_is_said(tmp_path):
    losses = dict(
        near=dict(type="TinyImitation", tap="backbone.body"),
        odd=dict(type="mmkd_ext.RefusesInEval", tap="backbone.body"),
    )
    runner = run(config(tmp_path, [REPORT], losses))
    rows = {row.name: row.macs for row in report_of(runner).rows}
    assert rows["loss odd (RefusesInEval)"] is None
    assert rows["loss near (TinyImitation)"] == 8 * 8 * 4 * 12
    assert "MACs of the loss odd: n/a: RuntimeError: only in training" in log_of(runner)
    assert "n/a" in cost_table(report_of(runner).rows)


@MODELS.register_module()
class RefusesInEval(nn.Module):
    loss_weight = 1.0

    def forward(self, student, teacher, data_samples=None):
        if not self.training:
            raise RuntimeError("only in training\nand never else")
        return student.mean() * 0


def test_without_a_timer_hook(tmp_path):
    cfg = config(tmp_path, [REPORT])
    cfg.default_hooks.timer = None
    assert "IterTimerHook's, which does not run" in log_of(run(cfg))


def test_the_model_must_be_a_distiller(tmp_path):
    cfg = config(tmp_path, [REPORT])
    cfg.model = classifier(4)
    with pytest.raises(TypeError, match="CostReportHook works on a Distiller"):
        run(cfg)


@pytest.mark.parametrize("bad", [dict(iterations=-1), dict(warmup=0)])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match="iterations must be at least 0 and warmup at least 1"):
        HOOKS.build({**REPORT, **bad})


@pytest.mark.parametrize(
    "model",
    [
        dict(type="ResNet", depth=18),
        dict(type="MobileNetV2"),
        dict(type="VisionTransformer", arch="deit-tiny", img_size=64, patch_size=16),
    ],
    ids=lambda model: model["type"],
)
def test_counting_agrees_with_mmengine(model):
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        network = MODELS.build(copy.deepcopy(model))
    network.eval()
    image = torch.zeros(1, 3, 64, 64)
    with torch.no_grad(), counting_macs() as count:
        network(image)
    analysed = FlopAnalyzer(network, (image,))
    theirs = analysed.by_operator()
    products = sum(theirs[op] for op in ("conv", "linear", "matmul", "addmm", "bmm"))
    if model["type"] == "VisionTransformer":  # which mmengine counts without fused attention
        products += 12 * 2 * 17 * 17 * 192
    assert count.macs == products
    # What it calls flops are MACs, and some more for norms and pooling.
    total = get_model_complexity_info(network, (3, 64, 64), show_table=False, show_arch=False)
    assert products * 0.9 < total["flops"] < products * 1.1


def test_attention_is_counted_in_the_fast_path_too():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    tokens = torch.zeros(1, 10, 16)
    with torch.no_grad(), counting_macs() as count:
        layer(tokens)
    assert count.macs == 10 * 16 * 16 * 4 + 2 * 10 * 10 * 16 + 2 * 10 * 16 * 32
    assert torch.backends.mha.get_fastpath_enabled()


def test_with_mixup(tmp_path):
    cfg = config(tmp_path, [REPORT])
    cfg.model.student.train_cfg = dict(augments=[dict(type="Mixup", alpha=0.8)])
    runner = run(cfg)
    assert report_of(runner).rows[0].macs == STUDENT_STEM + STUDENT_BODY + STUDENT_HEAD
    assert runner.model.data_preprocessor.batch_augments.augments  # still there


@pytest.mark.filterwarnings("ignore")
def test_crops_of_unequal_size_are_padded_as_in_training():
    """An image smaller than the crop is padded to it, its labels with 255."""
    with DefaultScope.overwrite_default_scope("mmseg"):
        student = stock_models.distilled_segmentor(dict(config=stock_models.segmentor(16)))
        distiller = MODELS.build(student)
    rows, remarks = count_costs(distiller, stock_models.seg_batch(((64, 64), (50, 64))))
    whole, _ = count_costs(distiller, stock_models.seg_batch(((64, 64), (64, 64))))
    assert remarks == []
    assert rows == whole


CROP = (64, 64)  # an eighth of the real side, so a 64th of the cells


@DATASETS.register_module()
class MadeCrops(Dataset):
    """Two images of a segmentation with 19 classes."""

    metainfo = {"classes": tuple(map(str, range(19)))}

    def __len__(self):
        return 2

    def __getitem__(self, index):
        batch = seg_configs.made_batch(CROP, classes=19)
        return {key: values[index] for key, values in batch.items()}


class FirstStepError(Exception):
    """The first step would begin now."""


@HOOKS.register_module()
class StopBeforeTheFirstStep(Hook):
    priority = "LOWEST"

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        raise FirstStepError


def printed_before_the_first_step(path, work_dir, overrides=None):
    """What a real run's log says of the loss `mgd`: parameters, and MACs of an image."""
    cfg = seg_configs.load(path, CROP)
    cfg.merge_from_dict(overrides or {})
    cfg.work_dir = str(work_dir)
    cfg.train_dataloader = dict(
        batch_size=2,
        dataset=dict(type="mmkd_ext.MadeCrops"),
        sampler=dict(type="DefaultSampler", shuffle=False),
        collate_fn=dict(type="pseudo_collate"),
    )
    for split in ("val", "test"):
        for part in ("dataloader", "cfg", "evaluator"):
            cfg[f"{split}_{part}"] = None
    cfg.custom_hooks = [REPORT, dict(type="mmkd_ext.StopBeforeTheFirstStep")]
    runner = Runner.from_cfg(Config(cfg.to_dict(), format_python_code=False))  # it takes seconds
    with pytest.raises(FirstStepError):
        runner.train()
    assert runner.iter == 0
    assert not runner.optim_wrapper.optimizer.state
    [row] = re.findall(
        r"loss mgd \(MGDLoss\) +([\d.]+) M +([\d.]+) M +([\d.]+) ([GM]) +no", log_of(runner)
    )
    parameters, trained, macs, unit = row
    assert parameters == trained
    return float(parameters) * 1e6, float(macs) * {"G": 1e9, "M": 1e6}[unit]


@pytest.mark.filterwarnings("ignore")
def test_the_documented_cost_of_the_generator_is_printed_before_training(tmp_path):
    """MGD from a PSPNet-R101, whose maps at stride 8 have 2048 channels; and the cheaper option."""
    folder = seg_configs.FOLDER / "mgd"
    path = folder / "mgd_pspnet-r18_pspnet-r101_8xb2-40k_cityscapes-512x512.py"
    readme = (folder / "README.md").read_text()
    [option] = set(re.findall(r"model\.losses\.mgd\.generator_channels=(\d+)", readme))
    documented = {
        int(width): (float(parameters.replace(",", "")), float(gmacs) * 1e9 / 64)
        for width, parameters, gmacs in re.findall(
            r"^\| (\d+)[^|]*\| ([\d,]+) \| ([\d.]+) \|", readme, flags=re.MULTILINE
        )
    }
    published = printed_before_the_first_step(path, tmp_path / "published")
    key = "model.losses.mgd.generator_channels"
    reduced = printed_before_the_first_step(path, tmp_path / "reduced", {key: int(option)})
    assert published == pytest.approx(documented[2048], rel=2e-3)  # it has four digits
    assert reduced == pytest.approx(documented[int(option)], rel=2e-3)
    assert reduced[1] < published[1] / 7


def test_weights_that_are_read_meanwhile_stay(tmp_path):
    teacher = good_teacher(tmp_path / "teacher.pth")
    distiller = Runner.from_cfg(config(tmp_path, teacher=teacher)).model
    count_costs(distiller, default_collate([Squares()[i] for i in range(2)]))
    saved = torch.load(tmp_path / "teacher.pth")["state_dict"]
    assert all(torch.equal(v, saved[k]) for k, v in distiller.teacher.state_dict().items())
