"""The set-up: what it refuses, remembers, resumes and mends. Nothing is fetched here."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.packaging.commands import ROOT, run

SCRIPT = ROOT / "tools" / "setup_env.py"
sys.path.insert(0, str(ROOT / "tools"))
from environment.process import Commands, SetUpError, clean_environment  # noqa: E402
from environment.steps import SetUp  # noqa: E402
from environment.venv import STAMP, Stamp, Venv  # noqa: E402


def fake_python(path: Path, version: str) -> str:
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("version", ["3 9 18", "3 13 0"])
def test_unsupported_python_is_refused_before_anything_is_made(version, tmp_path):
    python = fake_python(tmp_path / "python", version)
    with pytest.raises(SetUpError, match=r"needs 3\.10, 3\.11, 3\.12.*PYTHON="):
        Venv(str(tmp_path / "venv"), python).prepare()
    assert not (tmp_path / "venv").exists()


def test_python_that_does_not_run(tmp_path):
    with pytest.raises(SetUpError, match="does not run"):
        Venv(str(tmp_path / "venv"), str(tmp_path / "nothing")).prepare()


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(SetUpError, match="no virtual environment"):
        Venv(str(tmp_path), sys.executable).prepare()
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_another_python_than_the_environment_has(tmp_path):
    python = fake_python(tmp_path / "python3.12", "3 12 1")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    fake_python(tmp_path / "venv" / "bin" / "python", "3 11 1")
    with pytest.raises(SetUpError, match=r"made with Python 3\.11, not with the PYTHON="):
        Venv(str(tmp_path / "venv")).prepare(python)


def test_make_names_a_missing_python(tmp_path):
    printed = run(
        "make", "-C", ROOT, "env", "PYTHON=python9", f"VENV={tmp_path}/v", cwd=ROOT, code=2
    )
    assert "There is no python9" in printed


def test_half_installed_packages_are_dropped(tmp_path):
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, files in {
        "good-1.dist-info": ["METADATA", "INSTALLER", "RECORD"],
        "half-1.dist-info": ["METADATA"],
        "almost-1.dist-info": ["METADATA", "INSTALLER"],
        "~orch": ["__init__.py"],
    }.items():
        (site / name).mkdir(parents=True)
        for file in files:
            (site / name / file).write_text("")
    Venv(str(tmp_path)).drop_half_installed()
    assert os.listdir(site) == ["good-1.dist-info"]


def test_a_changed_pin_repeats_the_steps_that_it_touches(tmp_path):
    for name in ("setup.py", "requirements", "mmkd_ext/version.py"):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(exist_ok=True)
        run("cp", "-r", source, target, cwd=ROOT)
    set_up = SetUp(str(tmp_path), sys.prefix)
    keys = {name: key for name, _, _, key in set_up.steps()}
    assert keys == {name: key for name, _, _, key in set_up.steps()}
    (tmp_path / "setup.py").write_text("# changed\n")
    changed = [name for name, _, _, key in set_up.steps() if key != keys[name]]
    assert changed == ["package", "verify"]
    (tmp_path / "requirements" / "constraints.txt").write_text("numpy==1\n")
    assert [name for name, _, _, key in set_up.steps() if key != keys[name]] == list(keys)


def test_pins_name_what_the_health_check_looks_for():
    from environment.steps import HEALTH_MODULES, MMCV, TORCH

    pins = SetUp(str(ROOT), sys.prefix).pins()
    assert set(HEALTH_MODULES) - {"mmkd_ext"} <= set(pins)
    assert MMCV in pins
    assert [f"{name}=={pins[name]}" for name in ("torch", "torchvision")] == TORCH


def test_settings_that_lead_pip_away_are_not_passed_on(monkeypatch):
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    environment = clean_environment({"CFLAGS": "-g0"})
    assert "PIP_USER" not in environment
    assert "PYTHONPATH" not in environment
    assert environment["PIP_FIND_LINKS"] == "/wheels"
    assert environment["CFLAGS"] == "-g0"


def test_a_failed_command_shows_its_last_lines(tmp_path):
    commands = Commands(str(tmp_path / "log"), str(tmp_path))
    with pytest.raises(
        SetUpError, match=r"(?s)frobnicating: .*exit 3.*the reason.*goes on from here"
    ):
        commands.call(["sh", "-c", "echo the reason >&2; exit 3"], "frobnicating")


def test_progress_of_a_build_is_read_from_its_log(tmp_path):
    commands = Commands(str(tmp_path / "log"), str(tmp_path))
    (tmp_path / "log").write_text("noise\n  [3/78] c++ a.o\n  [12/78] c++ b.o\nmore\n")
    assert commands._sign_of_life(0, True) == "12 of 78 files compiled"
    assert commands._sign_of_life(0, False) == "more"


def test_a_second_set_up_waits_for_the_first(tmp_path):
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from environment.venv import Venv\n"
        "with Venv(sys.argv[2]).lock():\n"
        "    print('inside', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(ROOT / "tools"), str(tmp_path / "venv")]

    def start():
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    first, second = start(), None
    try:
        assert first.stdout.readline() == "inside\n"
        second = start()
        assert second.stdout.readline().startswith("Another set-up of")
        first.kill()  # not even a chance to clean up
        assert second.stdout.readline() == "inside\n"
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.communicate()


@pytest.fixture(scope="module")
def silent_server():
    """An address that takes connections and never answers: pip hangs on it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple"


def test_interrupted_resumed_moved_and_gone(tmp_path, silent_server):
    """One environment through all of its misfortunes, with the script itself."""
    place = tmp_path / "env"
    command = [sys.executable, str(SCRIPT), "--venv", str(place)]
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_RETRIES": "0"}
    process = subprocess.Popen(
        command,
        env=dict(os.environ, **offline, PIP_INDEX_URL=silent_server, PIP_EXTRA_INDEX_URL=""),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("[1/6] build tools"):
            break
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "interrupted. The same command goes on from here." in rest
    stamp = Stamp(str(place))
    assert stamp.data["running"] == "tools"
    assert stamp.data["steps"] == {}
    log = (place / "mmkd_ext_setup.log").read_text()
    assert "pip install" in log

    # Again, where pip finds nothing: it resumes, fails, and says so in one message.
    offline["PIP_NO_INDEX"] = "1"
    printed = run(*command, cwd=tmp_path, code=1, **offline)
    assert "cut short in step `tools`: resuming" in printed
    assert "Creating" not in printed
    assert "build tools: the command failed" in printed
    assert "Traceback" not in printed

    # Moved: the scripts in bin/ name the old place.
    moved = tmp_path / "moved"
    place.rename(moved)
    command[-1] = "moved"  # relative to the working folder
    printed = run(*command, cwd=tmp_path, code=1, **offline)
    assert f"was moved here from {place}" in printed
    assert run(moved / "bin" / "pip", "--version", cwd=tmp_path).startswith("pip ")
    assert json.loads((moved / STAMP).read_text())["venv"] == str(moved)

    # Its Python gone, as after an upgrade of the system.
    for name in ("python", "python3", f"python3.{sys.version_info[1]}"):
        (moved / "bin" / name).unlink(missing_ok=True)
        (moved / "bin" / name).symlink_to(tmp_path / "vanished")
    printed = run(*command, cwd=tmp_path, code=1, **offline)
    assert "is gone: making it anew" in printed
    assert run(moved / "bin" / "python", "-c", "print(6 * 7)", cwd=tmp_path) == "42\n"


def test_this_environment_is_complete():
    """The set-up of the environment that runs this test has nothing left to do."""
    if not Stamp(sys.prefix).exists:
        pytest.skip("this environment was not made by `make env`")
    set_up = SetUp(str(ROOT), sys.prefix)
    keys = {name: key for name, _, _, key in set_up.steps()}
    assert set_up.venv.stamp.data["steps"] == keys, "run `make env`"
    assert set_up.run() == []


def test_ci_runs_make_test():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[-1] == 'exec make test "$@"'
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    printed = run("make", "-n", "test", "VENV=/x", cwd=ROOT)
    for command in ("setup_env.py", "ruff check", "ruff format --check", "codespell", "not slow"):
        assert command in printed
