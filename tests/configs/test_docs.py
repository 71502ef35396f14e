"""The documents keep their word: code blocks run, configs build, links and commands exist."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmkd_ext.losses
from mmkd_ext import compat
from mmkd_ext.__main__ import COMMANDS
from mmkd_ext.distill import Distiller
from mmkd_ext.distill.schedule import build_schedule
from mmkd_ext.losses import DistillLoss
from mmkd_ext.registry import HOOKS, MODELS

from .cls_configs import ROOT

pytestmark = pytest.mark.filterwarnings("ignore")

DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "configs").rglob("*.md"),
    ]
)
by_name = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


def build(text: str, folder: Path) -> Distiller:
    """The Distiller of a config, as the Runner would build it, but for the checkpoints."""
    path = folder / "from_a_document.py"
    path.write_text(text)
    cfg = Config.fromfile(path)
    for teacher in [cfg.model.get("teacher"), *cfg.model.get("teachers", {}).values()]:
        if teacher is not None and "checkpoint" in teacher:
            teacher.checkpoint = None
    if "data_preprocessor" in cfg:  # mmdet and mmseg keep it in the model
        cfg.model.setdefault("data_preprocessor", cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model)


@pytest.fixture
def _own_registry():
    """Takes off again what a document's example registers."""
    MODELS.import_from_location()  # what is ours comes in now, and stays
    before = set(MODELS.module_dict)
    yield
    for name in set(MODELS.module_dict) - before:
        del MODELS.module_dict[name]


@pytest.mark.usefixtures("_own_registry")
@by_name
def test_python_blocks_run(document, tmp_path):
    namespace: dict = {}
    for text in blocks(document, "python"):
        if "_base_ =" in text:
            assert isinstance(build(text, tmp_path), Distiller)
            continue
        namespace.pop("losses", None)
        exec(compile(text, str(document), "exec"), namespace)
        # Fragments of configs: what they name exists and takes these arguments.
        for hook in namespace.pop("custom_hooks", []):
            HOOKS.build(hook)
        for hook in namespace.pop("default_hooks", {}).values():
            HOOKS.build(hook)
        for loss in namespace.pop("losses", {}).values():
            known = inspect.signature(MODELS.module_dict[loss["type"]]).parameters
            assert set(loss) - {"type", "tap", "schedule", "teacher"} <= set(known)
            build_schedule(loss.get("schedule"))
        if "schedule" in namespace:
            build_schedule(namespace.pop("schedule"))


def test_the_readme_distils_in_ten_lines():
    [config] = [text for text in blocks(ROOT / "README.md", "python") if "_base_ =" in text]
    assert len(config.splitlines()) - 1 <= 10  # beyond the student's config


@by_name
def test_no_number_is_left_open(document):
    assert "@@" not in re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.M)


@by_name
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target.partition("#")[0]).exists(), target


@by_name
def test_commands_name_what_exists(document):
    makefile = (ROOT / "Makefile").read_text()
    for command in "\n".join(blocks(document, "bash")).splitlines():
        for path in re.findall(r"\b(?:tools|configs|requirements)/[\w./-]+", command):
            assert (ROOT / path).is_file(), command
        for target in re.findall(r"^make ([\w-]+)", command):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), command
        for package, name in re.findall(r"\bmim (?:train|test) (\w+) ([\w.-]+\.py)\b", command):
            names = [path.name for path in compat.package_configs(package).rglob("*.py")]
            assert names.count(name) == 1, command
        for ours, name in re.findall(r"-m mmkd_ext ([\w-]+)(?: ([\w.-]+\.py)\b)?", command):
            assert ours in COMMANDS, command
            assert not name or len(compat.own_configs()[name.removesuffix(".py")]) == 1, command


def test_every_loss_has_a_row_with_its_real_defaults():
    text = (ROOT / "docs" / "losses.md").read_text()
    rows = {}
    for line in text.partition("## All of them")[2].partition("Settings published")[0].splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 5 and cells[1].startswith("`"):
            rows[cells[1].strip("`")] = cells
    losses = {
        name: value
        for name, value in vars(mmkd_ext.losses).items()
        if inspect.isclass(value) and issubclass(value, DistillLoss) and value is not DistillLoss
    }
    assert set(rows) == set(losses)
    for name, cells in rows.items():
        parameters = inspect.signature(losses[name]).parameters
        for argument, value in re.findall(r"`(\w+)=([^`]+)`", cells[4]):
            assert parameters[argument].default == ast.literal_eval(value), (name, argument)
        if "soft_labels" in parameters:
            # The first policy named is the default.
            assert re.findall(r'"(\w+)"', cells[5])[0] == parameters["soft_labels"].default
        else:
            assert cells[5] == "none"


def test_the_licence_is_the_plain_apache_text():
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("task", ["cls", "det", "insseg", "seg"])
def test_every_method_folder_is_reachable_from_the_readme(task):
    linked = set(re.findall(rf"\]\((configs/{task}/\w+)\)", (ROOT / "README.md").read_text()))
    folders = {path.parent for path in (ROOT / "configs" / task).glob("*/README.md")}
    assert linked == {str(folder.relative_to(ROOT)) for folder in folders}
    with_configs = {path.parent for path in (ROOT / "configs" / task).glob("[!_]*/*.py")}
    assert with_configs == folders
