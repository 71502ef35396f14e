"""The shim: cheap, in force whichever is imported first, clear when something is missing."""

import json
import os
import sys

import pytest

from mmkd_ext import compat
from tests.packaging.commands import ROOT, run

USER_CONFIG = "_base_ = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'\n"


def python(code: str, cwd, **variables) -> str:
    return run(sys.executable, "-c", code, cwd=cwd, **variables)


def test_import_is_cheap(tmp_path):
    code = "import mmkd_ext, sys; print([m for m in ('torch', 'mmengine') if m in sys.modules])"
    assert python(code, tmp_path).strip() == "[]"


@pytest.mark.parametrize(
    "imports",
    [
        "import mmkd_ext; from mmengine.config import Config",
        "from mmengine.config import Config; import mmkd_ext",
        "import mmkd_ext, importlib, mmengine.config.config as c; importlib.reload(c); Config = c.Config",
    ],
)
def test_package_bases_in_a_users_script(tmp_path, imports):
    (tmp_path / "a.py").write_text(USER_CONFIG)
    (tmp_path / "b.py").write_text("_base_ = 'mmkd_ext::demo/cls_digits_baseline.py'\n")
    code = f"{imports}; print([Config.fromfile(f).model.type for f in ('a.py', 'b.py')])"
    assert "['EncoderDecoder', 'ImageClassifier']" in python(code, tmp_path)


def test_a_base_keeps_its_scope(tmp_path):
    from mmengine.config import Config

    config = tmp_path / "c.py"
    config.write_text(USER_CONFIG + "student = _base_.model\n")
    assert Config.fromfile(config).student._scope_ == "mmseg"


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("./nope.py", ["c.py", "nope.py"]),
        ("mmpretrain::resnet/resnet18_8xb33_in1k.py", ["c.py", "resnet18_8xb32_in1k.py"]),
        ("nolibrary::a/b.py", ["c.py", "nolibrary", "mmpretrain"]),
        ("mmpretrain::mgd/resnet18_8xb32_in1k.py", ["mmpretrain::resnet/resnet18_8xb32_in1k.py"]),
    ],
)
def test_missing_base_is_one_clear_error(tmp_path, base, words):
    from mmengine.config import Config

    config = tmp_path / "c.py"
    config.write_text(f"_base_ = {base!r}\n")
    with pytest.raises(FileNotFoundError) as info:
        Config.fromfile(config)
    for word in words:
        assert word in str(info.value)


def test_hub_would_not_install_the_rival():
    """mmengine.hub pip-installs what this table maps to a distribution that is absent."""
    import mmengine.config  # noqa: F401
    from mmengine.utils import is_installed

    table = sys.modules["mmengine.config.utils"].MODULE2PACKAGE
    assert all(is_installed(table[module]) for module in ("mmpretrain", "mmdet", "mmseg"))


def test_resolve_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    assert compat.resolve_config("mine.py") == str(tmp_path / "mine.py")
    demo = str(ROOT / "configs" / "demo" / "cls_digits_teacher.py")
    assert compat.resolve_config("cls_digits_teacher") == demo
    assert compat.resolve_config("cls_digits_teacher.py") == demo
    assert compat.resolve_config("mmkd_ext::demo/cls_digits_teacher.py") == demo
    assert compat.resolve_config("mmkd_ext::demo/cls_digits_teacher") == demo
    with pytest.raises(FileNotFoundError, match=r"Close: cls_digits_teacher\.py"):
        compat.resolve_config("cls_digit_teacher.py")
    with pytest.raises(FileNotFoundError, match="directory"):
        compat.resolve_config(str(tmp_path))


def test_stack_info():
    stack = compat.stack_info()
    assert stack.family in ("onedl", "openmmlab")
    assert all(stack.versions.values())
    assert compat.version_traps() == []
    assert compat.mim_name("mmdet") == stack.versions["mmdet"][0]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "1"),
        ({"MMKD_TRUST_CHECKPOINTS": "1"}, None),
        ({"MMKD_TRUST_CHECKPOINTS": "0"}, "1"),
        ({"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}, None),
    ],
)
def test_force_weights_only(tmp_path, variables, expected):
    code = (
        "import json, os; from mmkd_ext import compat; compat.force_weights_only(); "
        "print(json.dumps(os.environ.get('TORCH_FORCE_WEIGHTS_ONLY_LOAD')))"
    )
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    assert json.loads(python(code, tmp_path, **variables)) == expected
