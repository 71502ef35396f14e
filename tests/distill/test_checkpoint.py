from __future__ import annotations

import argparse
import functools
import http.server
import multiprocessing
import os
import pickle
import resource
import signal
import threading

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mm_checkpoint

from mmkd_ext import atomic_file
from mmkd_ext.distill.checkpoint import (
    CheckpointError,
    atomic_save,
    install_reader,
    is_readable,
    non_finite_keys,
    read_checkpoint,
    weights_of,
)

FORK = multiprocessing.get_context("fork")


class Call:
    """Pickles as the call of a function; its result may get a state and items."""

    def __init__(self, function, *arguments, state=None, items=None):
        self.call = function, arguments, state, None, items and iter(items)

    def __reduce__(self):
        return self.call


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.pth"
    atomic_save({"state_dict": {"w": torch.ones(100)}, "meta": {"epoch": 1}}, path)
    return path


def refusal(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "\033" not in message
    assert is_readable(path) == message
    return message


# ----------------------------------------------------------------------------------- reading


def test_what_mmengine_stores_is_read(tmp_path):
    hub = MessageHub("test_checkpoint")
    for value in range(3):
        hub.update_scalar("train/loss", float(value))
    for code in "?bhilqBHILQefd":
        hub.update_info(code, np.ones(2, dtype=code))
    hub.update_info("scalar", np.float32(3))
    hub.update_info("names", np.array(["a", "bc"]))
    content = {"message_hub": hub.state_dict(), "slice": slice(1, 2), "state_dict": {}}
    atomic_save(content, tmp_path / "a.pth")
    loaded = read_checkpoint(tmp_path / "a.pth")["message_hub"]
    assert loaded["log_scalars"]["train/loss"].mean() == 1.0
    assert loaded["runtime_info"]["scalar"] == 3
    assert loaded["runtime_info"]["names"].tolist() == ["a", "bc"]
    assert loaded["runtime_info"]["?"].dtype == bool


def test_missing_files(tmp_path, good, monkeypatch):
    assert "The folder holds good.pth" in refusal(tmp_path / "bad.pth")
    assert f"there is no folder {tmp_path / 'no'}" in refusal(tmp_path / "no" / "bad.pth")
    monkeypatch.chdir(tmp_path)
    assert f"looked for in {tmp_path}" in refusal("bad.pth")
    assert "is a directory, not a file. Name one of the files in it: good.pth" in refusal(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_checkpoint("~/good.pth")["meta"] == {"epoch": 1}


@pytest.mark.parametrize(
    "content",
    [b"<html>404 not found</html>", b"hello world", bytes(range(255, 0, -1)), b"PK\3\4 no zip"],
)
def test_what_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    assert "corrupt, truncated or no checkpoint" in refusal(path)
    assert "weights_only" not in refusal(path)


def test_damaged_files(good):
    content = good.read_bytes()
    for length in (1, 100, len(content) // 2, len(content) - 1):
        good.write_bytes(content[:length])
        assert "corrupt, truncated" in refusal(good)
    good.write_bytes(b"")
    assert "is empty (0 bytes)" in refusal(good)
    # One flipped bit among the weights: torch does not notice, the check sum does.
    damaged = bytearray(content)
    damaged[content.find(np.ones(100, np.float32).tobytes()) + 2] ^= 0x40
    good.write_bytes(damaged)
    assert read_checkpoint(good)["state_dict"]["w"][0] != 1
    assert "check sum of" in is_readable(good)


def test_legacy_files_are_read(tmp_path):
    path = tmp_path / "legacy.pth"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    assert read_checkpoint(path)["w"].tolist() == [1, 1]
    assert is_readable(path) is None


def test_not_a_dict(tmp_path):
    torch.save(torch.ones(2), tmp_path / "a.pth")
    assert "holds a Tensor, not a dict" in refusal(tmp_path / "a.pth")


def code_files(folder, sentinel):
    """The ways in which code gets into a checkpoint, and what the message names."""
    call = Call(os.mkdir, str(sentinel))
    torch.save({"state_dict": {}, "x": call}, folder / "zip.pth")
    torch.save({"x": call}, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    (folder / "pickle2.pth").write_bytes(pickle.dumps({"x": call}, protocol=2))
    (folder / "pickle4.pth").write_bytes(pickle.dumps({"x": call}, protocol=4))
    torch.save({"x": argparse.Namespace(a=1)}, folder / "object.pth")
    # Only names that mmengine's own list declares safe, `getattr` among them: `eval` takes the
    # place of `numpy.array` in a constructor.
    evaluate = Call(getattr, Call(getattr, getattr, "__self__"), "eval")
    numpy = Call(HistoryBuffer, state={"array": evaluate})
    replaced = Call(getattr, HistoryBuffer.__init__, "__globals__", items=[("np", numpy)])
    code = f"__import__('os').mkdir({str(sentinel)!r})"
    torch.save({"x": [replaced, Call(HistoryBuffer, code, code)]}, folder / "getattr.pth")
    return {
        "zip.pth": "posix.mkdir",
        "legacy.pth": "posix.mkdir",
        "pickle2.pth": "posix.mkdir",
        "pickle4.pth": "pickle of protocol 4",
        "object.pth": "argparse.Namespace",
        "getattr.pth": "getattr",
    }


def test_pickled_code_is_refused(tmp_path, recwarn):
    sentinel = tmp_path / "executed"
    for name, named in code_files(tmp_path, sentinel).items():
        message = refusal(tmp_path / name)
        assert "it holds pickled Python code" in message, name
        assert named in message
        assert "If you trust whoever made the file, and only then, set MMKD_TRUST" in message
    assert not sentinel.exists()
    assert not [str(warning.message) for warning in recwarn if "pickle" in str(warning.message)]


@pytest.mark.parametrize("forced", [False, True])
def test_the_user_may_trust(tmp_path, monkeypatch, forced):
    torch.save({"x": argparse.Namespace(a=1)}, tmp_path / "a.pth")
    monkeypatch.setenv("MMKD_TRUST_CHECKPOINTS", "0")
    refusal(tmp_path / "a.pth")
    monkeypatch.setenv("MMKD_TRUST_CHECKPOINTS", "1")
    if forced:
        monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    assert read_checkpoint(tmp_path / "a.pth")["x"].a == 1
    assert os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD") == ("1" if forced else None)


def test_reading_leaves_the_process_as_it_was(good, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    safe, theirs = torch.serialization.get_safe_globals(), mm_checkpoint.get_torch_safe_globals
    read_checkpoint(good)
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    assert set(torch.serialization.get_safe_globals()) == set(safe)  # kept in a set: no order
    assert mm_checkpoint.get_torch_safe_globals is theirs


@pytest.fixture
def mmengine_loaders():
    before = dict(CheckpointLoader._schemes)
    yield
    CheckpointLoader._schemes = before


@pytest.mark.usefixtures("mmengine_loaders")
def test_mmengine_reads_through_us(tmp_path, good):
    install_reader()
    install_reader()
    loaded = CheckpointLoader.load_checkpoint(str(good), map_location="cpu")
    assert loaded["meta"] == {"epoch": 1}
    code_files(tmp_path, tmp_path / "executed")
    with pytest.raises(CheckpointError, match="MMKD_TRUST_CHECKPOINTS"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "zip.pth"))
    assert not (tmp_path / "executed").exists()


@pytest.fixture
def server(tmp_path, monkeypatch):
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch_home"))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    made = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.usefixtures("mmengine_loaders")
@pytest.mark.parametrize("installed", [False, True])
def test_addresses(server, tmp_path, installed):
    if installed:
        install_reader()
    folder, address = server
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    atomic_save({"state_dict": {"w": torch.ones(1)}, "history": history}, folder / "a.pth")
    torch.save({"x": Call(os.mkdir, str(tmp_path / "executed"))}, folder / "b.pth")
    assert read_checkpoint(f"{address}/a.pth")["history"].mean() == 1.5
    with pytest.raises(CheckpointError, match=r"b\.pth was refused.*posix\.mkdir"):
        read_checkpoint(f"{address}/b.pth")
    assert not (tmp_path / "executed").exists()
    with pytest.raises(CheckpointError, match=r"c\.pth cannot be read: HTTPError: .*404"):
        read_checkpoint(f"{address}/c.pth")
    with pytest.raises(CheckpointError, match="torchvision://nonsense cannot be read"):
        read_checkpoint("torchvision://nonsense")


# ------------------------------------------------------------------------------------ weights


def test_weights_of():
    weights = {"a": torch.ones(1), "b": torch.zeros(2)}
    assert weights_of({"state_dict": weights, "meta": {}}) is weights
    assert weights_of({"model": weights, "epoch": 3}) is weights
    assert weights_of({"model_state_dict": weights}) is weights
    assert weights_of(weights) is weights
    # A sub-module may be called so, and be a tensor's name only.
    assert weights_of({"model": torch.ones(1)}) == {"model": torch.ones(1)}
    parallel = {f"module.{key}": value for key, value in weights.items()}
    assert weights_of({"state_dict": parallel}).keys() == weights.keys()
    with pytest.raises(CheckpointError, match=r"No weights.*\['meta', 'state_dict'\]"):
        weights_of({"meta": {}, "state_dict": {}})


def test_non_finite_keys():
    weights = {
        "fine": torch.ones(2),
        "nan": torch.tensor([1.0, float("nan")]),
        "inf": torch.tensor([float("inf")], dtype=torch.bfloat16),
        "count": torch.tensor(3),
        "name": "no tensor",
    }
    assert non_finite_keys(weights) == ["nan", "inf"]


# ------------------------------------------------------------------------------------ writing


def in_a_process(function, *arguments) -> int:
    process = FORK.Process(target=function, args=arguments)
    process.start()
    process.join(timeout=60)
    return process.exitcode


def save_and_die(path):
    # A large tensor first, so that bytes are on the disk when the second object is pickled.
    atomic_save({"w": torch.ones(1_000_000), "x": Call(os.mkdir), "bomb": Bomb()}, path)


class Bomb:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)


def copy_and_die(path):
    """Die with the temporary file written, before it gets its name."""
    atomic_file.os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
    atomic_save({"w": torch.zeros(1_000_000)}, path)


@pytest.mark.parametrize("death", [save_and_die, copy_and_die])
def test_a_kill_leaves_the_old_file(good, death):
    before = good.read_bytes()
    assert in_a_process(death, good) == -signal.SIGKILL
    assert good.read_bytes() == before
    left = [path.name for path in good.parent.iterdir() if path != good]
    assert len(left) == 1
    assert left[0].startswith(".good.pth.tmp-")
    # The next save of any file in the folder clears up.
    atomic_save({"w": torch.ones(1)}, good.parent / "next.pth")
    assert sorted(path.name for path in good.parent.iterdir()) == ["good.pth", "next.pth"]


def test_temporaries_of_living_processes_stay(good):
    holder = FORK.Process(target=signal.pause)
    holder.start()
    mine = atomic_file.temporary_path(good)
    host_and_pid = mine.name.rsplit("~", 2)
    living = good.parent / f"{host_and_pid[0]}~{holder.pid}~{host_and_pid[2]}"
    earlier = good.parent / f"{host_and_pid[0]}~{os.getpid()}~00000000"
    other_machine = good.parent / ".good.pth.tmp-elsewhere.example~1~00000000"
    for path in (living, earlier, other_machine):
        path.touch()
    try:
        atomic_save({"w": torch.ones(1)}, good)
    finally:
        holder.terminate()
        holder.join()
    assert living.exists()
    assert other_machine.exists()
    assert not earlier.exists()  # an earlier process that had our number, as in containers


def save_with_a_full_disk(path):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        atomic_save({"w": torch.zeros(1_000_000)}, path)
    except OSError as error:
        os._exit(7 if "is unchanged" in str(error) else 8)


def test_a_write_that_fails_changes_nothing(good):
    before = good.read_bytes()
    assert in_a_process(save_with_a_full_disk, good) == 7
    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]
    with pytest.raises((AttributeError, pickle.PicklingError)):
        atomic_save({"w": lambda: None}, good)
    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]


def test_folders_are_made_and_modes_are_the_users(tmp_path):
    path = tmp_path / "new" / "a.pth"
    mask = os.umask(0o027)
    try:
        atomic_save({"w": torch.ones(1)}, path)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640
