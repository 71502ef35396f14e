"""The file of a search: killed processes, torn and corrupt lines, other searches."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.toy import KILLED, DigitSpace, loss, resumed

SMALL = dict(population=6, mutation=3, crossover=3, top_k=3, max_epochs=3)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def whole(tmp_path):
    """The path of a small finished search's history, and its content."""
    path = tmp_path / "history.jsonl"
    resumed(path, **SMALL)
    return path, path.read_bytes()


def test_a_killed_search_ends_where_an_unbroken_one_ends(tmp_path):
    path = tmp_path / "killed" / "history.jsonl"
    known = 0
    for new in (80, 0, 203):  # in generations 1, 1 and 5
        code = f"from tests.search.toy import KILLED, run_until; run_until({str(path)!r}, {new})"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -signal.SIGKILL
        known += new
        assert path.read_bytes().count(b"\n") == 1 + known
    finished = resumed(path, **KILLED)
    unbroken = resumed(tmp_path / "history.jsonl", **KILLED)
    assert path.read_bytes() == (tmp_path / "history.jsonl").read_bytes()
    assert finished.best == unbroken.best
    assert len(finished.evaluated) == 450


def test_the_file_says_all_of_each_candidate(whole):
    header, *records = map(json.loads, whole[1].splitlines())
    assert header["format"] == 1
    assert header["space"]["arguments"] == {"genes": 6, "base": 5}
    assert header["settings"]["population"] == 6
    assert [record["number"] for record in records] == list(range(24))
    for record in records:
        assert record["score"] == loss(record["genotype"])
        assert record["generation"] == record["number"] // 6
        assert record["costs"] == {"params": DigitSpace().params(record["genotype"])}
        assert (record["generation"] == 0) <= (record["origin"] == "random")


def test_a_file_that_ends_at_any_byte_is_completed_to_the_same(whole):
    path, content = whole
    cuts = [
        *range(0, len(content), 401),
        *range(content.rindex(b"\n", 0, -1) - 3, len(content), 23),
    ]
    for cut in cuts:
        path.write_bytes(content[:cut])
        if cut and content[cut - 1 : cut] != b"\n":
            line = content[:cut].count(b"\n") + 1
            with pytest.warns(UserWarning, match=f"line {line} is incomplete"):
                resumed(path, **SMALL)
        else:
            resumed(path, **SMALL)
        assert path.read_bytes() == content


def test_a_finished_search_is_not_run_again(whole):
    def never(genotype):
        raise AssertionError(f"{genotype} is evaluated twice")

    assert resumed(whole[0], never, **SMALL).best.score == min(
        json.loads(line)["score"] for line in whole[1].splitlines()[1:]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line[:20], "line 9 is corrupt: .*Mend it, or remove it and all that follow"),
        (lambda line: b"\xff" + line, "line 9 is corrupt"),
        (lambda line: b"17", "line 9 is corrupt: 17 is no record"),
        (lambda line: line.replace(b'"score"', b'"sc"'), r"line 9 is corrupt.*KeyError\('score'\)"),
        (lambda line: line.replace(b'"number": 7', b'"number": 6'), "ask for candidate 6 here"),
        (lambda line: line.replace(b"random", b"crossover").replace(b"mutation", b"random"),
         "asks for another candidate here .origin was"),
        (lambda line: line.replace(b'"params": ', b'"params": 1'), "here .params was 1"),
        (lambda line: line.replace(b'"digits": [', b'"digits": [7, '), "genotype.digits was .7"),
        (lambda line: b"", "line 9 is corrupt"),
    ],
)  # fmt: skip
def test_any_other_broken_line_is_an_error_with_its_number(whole, change, message):
    path, content = whole
    lines = content.splitlines()
    lines[8] = change(lines[8])
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(ValueError, match=message) as error:
        resumed(path, **SMALL)
    assert str(path) in str(error.value)
    assert path.read_bytes() == b"\n".join(lines) + b"\n"  # nothing has been lost


def test_a_record_too_many_is_an_error(whole):
    path, content = whole
    path.write_bytes(content + content.splitlines()[-1] + b"\n")
    with pytest.raises(ValueError, match="line 26 is corrupt: the search does not ask"):
        resumed(path, **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(population=7), "settings.population was 6, is 7"),
        (dict(seed=3), "settings.seed was 0, is 3"),
        (
            dict(constraints=dict(params=9e9)),
            "settings.constraints.params was null, is .null, 9000",
        ),
        (dict(space=DigitSpace(base=6)), "space.size was 15625, is 46656; .*arguments.base was 5"),
    ],
)
def test_a_changed_search_is_refused_with_the_difference(whole, change, message):
    with pytest.raises(ValueError, match=f"history of another search: .*{message}"):
        resumed(whole[0], **{**SMALL, **change})
    assert whole[0].read_bytes() == whole[1]


def test_scores_that_are_no_numbers_survive(tmp_path):
    def score(genotype):
        return {0: math.nan, 1: math.inf, 2: -math.inf}.get(genotype["digits"][0], loss(genotype))

    path = tmp_path / "history.jsonl"
    with pytest.warns(UserWarning, match="ranks last"):
        first = resumed(path, score, **SMALL)
    content = path.read_bytes()
    for line in content.splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    path.write_bytes(b"".join(content.splitlines(keepends=True)[:12]))
    with pytest.warns(UserWarning, match="ranks last"):
        second = resumed(path, score, **SMALL)
    assert path.read_bytes() == content
    assert second.best == first.best
    assert math.isfinite(second.best.score)
