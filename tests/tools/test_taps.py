"""``python -m mmkd_ext taps``: names that can be tapped, with the shapes they put out."""

import re
import sys

import pytest

from mmkd_ext.apis.config import load_config
from mmkd_ext.apis.errors import UserError
from mmkd_ext.apis.taps import list_taps, teacher_of
from mmkd_ext.distill.teacher import build_model
from tests.packaging.commands import run


def taps(*arguments, cwd, code=0):
    return run(sys.executable, "-m", "mmkd_ext", "taps", *arguments, cwd=cwd, code=code)


def test_the_student_s_modules_and_their_shapes(tmp_path):
    printed = taps("nkd_resnet18_resnet34_8xb32_in1k.py", "--shape", "3", "64", "96", cwd=tmp_path)
    assert re.search(r"│ backbone.layer3 +│ ResLayer +│ \(1, 256, 4, 6\) ", printed)
    assert re.search(r"│ head.fc +│ Linear +│ \(1, 1000\) +│ +│ 513,000", printed)
    assert "distill" not in printed


def test_the_teacher_s(tmp_path):
    config = "mgd_mobilenet-v1_resnet50_8xb32_in1k.py"
    printed = taps(config, "--teacher", "--match", "backbone.layer?", cwd=tmp_path)
    assert re.findall(r"│ (\S+) +│ ResLayer", printed) == [
        f"backbone.layer{i}" for i in range(1, 5)
    ]
    assert "(1, 2048, 7, 7)" in printed
    assert "head" not in printed


NETWORK = """
default_scope = 'mmpretrain'
model = dict(
    type='mmkd_ext.Distiller',
    student=dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=32)),
    losses=dict(kd=dict(type='KDLoss', tap='head.fc')))
"""


@pytest.mark.parametrize(
    ("teacher", "width"),
    [
        ("dict(type='EMATeacher', momentum=0.1)", 4),  # the student's own network
        ("{'type': 'mmkd_ext.Teacher', 'config': WIDE}", 8),
        ("WIDE", 8),
        ("dict(WIDE, checkpoint='no_such.pth', mode='train')", 8),
        ("dict(config=dict(model=WIDE, default_scope='mmpretrain'))", 8),
    ],
)
def test_a_teacher_in_whatever_way_it_is_given(teacher, width, tmp_path):
    config = tmp_path / "distilled.py"
    wide = (
        "WIDE = dict(model['student'], backbone=dict(model['student']['backbone'], "
        "base_channels=8), head=dict(type='LinearClsHead', num_classes=10, in_channels=64))"
    )
    config.write_text(f"{NETWORK}{wide}\nmodel['teacher'] = {teacher}\ndel WIDE\n")
    model, _ = build_model(teacher_of(load_config(config), ""))
    assert type(model).__name__ == "ImageClassifier"
    assert model.head.fc.in_features == 8 * width
    assert {row.name for row in list_taps(model, (3, 32, 32))[0]} >= {"backbone.layer1", "head.fc"}


def test_a_teacher_without_a_network(tmp_path):
    config = tmp_path / "distilled.py"
    config.write_text(f"{NETWORK}model['teacher'] = dict(checkpoint='a.pth')\n")
    with pytest.raises(UserError, match=r"--teacher teacher: .*'a.pth'.* has no config"):
        teacher_of(load_config(config), "")


@pytest.mark.parametrize(
    ("config", "shape", "expected"),
    [
        (
            "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py",
            (3, 64, 64),
            # Heads are shared: five levels of the pyramid.
            {"neck.fpn_convs.0.conv": ("(1, 256, 8, 8)", 1), "bbox_head.retina_cls": (None, 5)},
        ),
        (
            "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
            (3, 64, 64),
            {
                "neck.fpn_convs.3.conv": ("(1, 256, 2, 2)", 1),
                "rpn_head.rpn_cls": (None, 5),
                "roi_head.bbox_head.fc_cls": (None, 1),
            },
        ),
        (
            "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py",
            (3, 64, 64),
            {"decode_head.conv_seg": ("(1, 19, 8, 8)", 1)},
        ),
    ],
)
def test_other_libraries(config, shape, expected):
    model, _ = build_model(config)
    rows, remark = list_taps(model, shape)
    found = {row.name: row for row in rows}
    assert not remark
    for name, (output, firings) in expected.items():
        assert found[name].firings == firings
        assert output is None or found[name].output == output
    assert set(found) <= {name for name, _ in model.named_modules()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no_such.py"], "no_such.py does not exist"),
        (["tf-nkd_resnet18_8xb32_in1k.py", "--teacher"], "are: none"),
        (["nkd_resnet18_resnet34_8xb32_in1k.py", "--teacher", "b"], "--teacher b: .* are: teacher"),
        (["tf-nkd_resnet18_8xb32_in1k.py", "--match", "nck.*"], "none matches 'nck.*'"),
        (["tf-nkd_resnet18_8xb32_in1k.py", "--shape", "3", "0", "4"], "numbers of at least 1"),
    ],
)
def test_bad_input(arguments, words, tmp_path):
    assert re.search(words.replace("*'", r"\*'"), taps(*arguments, cwd=tmp_path, code=2))


def test_a_forward_that_fails_is_told(tmp_path):
    printed = taps(
        "tf-nkd_resnet18_8xb32_in1k.py", "--shape", "1", "64", "64", cwd=tmp_path, code=2
    )
    assert "The forward ended early on a blank image of (1, 64, 64)" in printed
