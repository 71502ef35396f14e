"""dataset-index.yml: the form that mim reads, scripts that exist, nothing upstream offers itself."""

import os

import yaml

from mmkd_ext import compat
from tests.packaging.commands import ROOT, run


def entries():
    index = yaml.safe_load((ROOT / "dataset-index.yml").read_text())
    assert index.pop("openxlab") is True
    return index


def test_entries_are_what_mim_reads():
    for name, entry in entries().items():
        # mim takes the first two from the entry without asking whether they are there.
        assert set(entry) == {"download_root", "data_root", "dataset", "script"}, name
        owner, _, dataset = entry["dataset"].partition("/")
        script = ROOT / entry["script"]
        assert os.access(script, os.X_OK)
        # The folder in which openxlab puts a dataset.
        assert f'"$1/{owner}___{dataset}"' in script.read_text()


def test_upstream_does_not_offer_the_same():
    for module in ("mmdet", "mmpretrain", "mmseg"):
        path = compat.package_configs(module).parent / "dataset-index.yml"
        if path.is_file():
            assert not set(entries()) & set(yaml.safe_load(path.read_text()))


def test_a_script_needs_the_download(tmp_path):
    for entry in entries().values():
        printed = run(ROOT / entry["script"], "downloads", "data", cwd=tmp_path, code=2)
        assert "the download put nothing there" in printed
    assert not list(tmp_path.iterdir())
