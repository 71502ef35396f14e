"""Which errors are one message, and which keep their traceback."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import Registry
from torch.utils.data import DataLoader, Dataset

from mmkd_ext.apis.errors import UserError, explain, main_guard
from mmkd_ext.registry import MODELS


def caught(function, *args):
    with pytest.raises(Exception) as info:  # noqa: PT011
        function(*args)
    return explain(info.value)


def test_unknown_type_names_the_close_ones():
    message = caught(MODELS.build, dict(type="mmkd_ext.MGDLos"))
    assert "MGDLoss" in message


def test_misspelt_argument_names_the_right_one():
    message = caught(MODELS.build, dict(type="mmkd_ext.MGDLoss", mask_ration=0.5))
    assert "mask_ration" in message
    assert "did you mean 'mask_ratio'?" in message


def test_what_the_system_refuses(tmp_path):
    message = caught(open, "no_such_file")
    assert message.startswith("No such file or directory: no_such_file (relative to ")
    assert "directory" in caught(open, tmp_path)


def test_raised_on_purpose_in_a_library():
    message = caught(Config.fromfile, "x.toml")
    assert "x.toml" in message or "Only py/yml" in message


def test_bugs_keep_their_traceback():
    def lookup():
        return {}["key"]

    def shapes():
        return torch.ones(2) + torch.ones(3)

    def here():
        raise ValueError("raised outside of our libraries")

    for bug in (lookup, shapes, here, lambda: None.missing):
        assert caught(bug) is None


def open_it(name: str) -> str:
    return name


class Opener:
    def __init__(self, name: str) -> None:
        self.name = open_it(name)

    def reopen(self, name: str) -> None:
        self.name = open_it(name)


@pytest.mark.parametrize(
    "call",
    [
        lambda: open_it(nme="x"),
        lambda: open_it(),
        lambda: Opener(nme="x"),
        lambda: Opener("x").reopen(nme="y"),
    ],
)
def test_a_wrong_call_in_a_constructor_is_a_bug(call):
    class Mine:
        def __init__(self, width: int = 1) -> None:
            self.opened = call()

    registry = Registry("opener", scope="mine")
    registry.register_module(module=Mine)
    assert caught(registry.build, dict(type="Mine")) is None
    assert "did you mean 'width'?" in caught(registry.build, dict(type="Mine", widht=2))


def test_an_argument_that_only_the_base_refuses():
    class Mine(Opener):
        def __init__(self, **kwargs: str) -> None:
            super().__init__(**kwargs)

    registry = Registry("opener", scope="mine")
    registry.register_module(module=Mine)
    assert "'nme'" in caught(registry.build, dict(type="Mine", nme="x"))


class _Broken(Dataset):
    def __init__(self, bug: bool) -> None:
        self.bug = bug

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        if self.bug:
            return {}[index]
        raise FileNotFoundError(2, "No such file or directory", "image_7.png")


def test_errors_from_loading_processes():
    message = caught(list, DataLoader(_Broken(bug=False), num_workers=1))
    assert "image_7.png" in message
    assert "Traceback" not in message
    assert caught(list, DataLoader(_Broken(bug=True), num_workers=1)) is None


def test_main_guard(capsys):
    @main_guard
    def user_error():
        raise UserError("mend it so")

    with pytest.raises(SystemExit) as end:
        user_error()
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: mend it so\n"

    @main_guard
    def bug():
        return {}["key"]

    with pytest.raises(KeyError):
        bug()

    @main_guard
    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        stopped()
    assert end.value.code == 130
