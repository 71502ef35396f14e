"""Bad input on the real command line: exit code, one message, and nothing lost or half-written."""

import re

import pytest
import torch

from . import bad_input_configs  # noqa: F401  (registers its cases)
from .bad_input import CASES, listing, make_shared, run_cases
from .bad_input_checkpoints import Payload

USER_ERRORS = [
    pytest.param(name, marks=[pytest.mark.slow] if case.slow else [])
    for name, case in CASES.items()
    if case.code == 2
]
BUGS = [name for name, case in CASES.items() if case.code == 1]


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    return make_shared(tmp_path_factory.mktemp("bad_input"))


@pytest.fixture(scope="session")
def results(request, shared, tmp_path_factory):
    """The chosen cases, begun at once; each test waits for its own."""
    chosen = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    names = [params["case"] for params in chosen if params.get("case") in CASES]
    before = listing(shared.folder)
    futures = run_cases([CASES[n] for n in names], shared, tmp_path_factory.mktemp("rooms"))
    yield futures
    for future in futures.values():
        future.cancel()  # after -x, say
    assert listing(shared.folder) == before, "what all cases share was changed"


@pytest.mark.parametrize("case", USER_ERRORS)
def test_one_message_and_nothing_lost(case, results):
    expected, result = CASES[case], results[case].result()
    assert result.code == 2, result.shown
    assert "Traceback" not in result.stdout + result.stderr, result.shown
    message = one_message(result.stderr)
    for part in expected.says:
        assert part.format(room=result.room) in message
    check_listing(expected, result)


@pytest.mark.parametrize("case", BUGS)
def test_bug_keeps_its_traceback(case, results):
    expected, result = CASES[case], results[case].result()
    assert result.code == 1, result.shown
    assert "Traceback (most recent call last)" in result.stderr
    assert "\nerror:" not in result.stderr
    for part in expected.says:
        assert part in result.stderr
    check_listing(expected, result)


def test_payload_would_have_run(tmp_path):
    """The code in the refused checkpoints works, where it is allowed to."""
    torch.save({"meta": Payload(tmp_path)}, tmp_path / "bad.pth")
    torch.load(tmp_path / "bad.pth", weights_only=False)
    assert (tmp_path / "the_code_ran").is_dir()


def one_message(stderr):
    """The only message on stderr; argparse puts its usage before it."""
    lines = stderr.strip().splitlines()
    if lines and lines[0].startswith("usage:"):
        lines = lines[-1:]
    assert len(lines) == 1, stderr
    found = re.fullmatch(r"(?:[\w.]+: )?error: (.{20,700})", lines[0])
    assert found, stderr
    return found[1]


def check_listing(case, result):
    """Every file that was there is there with its content; what is new is a log at most."""
    kept = {path: result.after.get(path) for path in result.before}
    assert kept == result.before
    new = result.after.keys() - result.before.keys()
    assert {path for path in new if not case.leaves.fullmatch(path)} == set()
