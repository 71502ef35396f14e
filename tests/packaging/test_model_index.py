"""model-index.yml, the metafiles and the configs they name."""

import yaml

from mmkd_ext import compat
from tests.packaging.commands import ROOT


def metafiles():
    return sorted(
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("configs/**/metafile.yml")
    )


def test_every_metafile_is_imported():
    index = yaml.safe_load((ROOT / "model-index.yml").read_text())
    assert sorted(index["Import"]) == metafiles()


def test_metafiles_name_what_exists():
    names = []
    for metafile in metafiles():
        content = yaml.safe_load((ROOT / metafile).read_text())
        collections = {collection["Name"] for collection in content["Collections"]}
        for collection in content["Collections"]:
            assert (ROOT / collection["README"]).is_file()
        for model in content["Models"]:
            names.append(model["Name"])
            assert model["In Collection"] in collections  # mim: a KeyError otherwise
            config = ROOT / model["Config"]
            assert config.is_file()
            assert config.stem == model["Name"]
    assert len(set(names)) == len(names)


def test_config_names_are_unique_and_not_stock():
    """mim finds configs by their file name in the whole checkout, `.venv` included."""
    ours = compat.own_configs()
    assert {name for name, paths in ours.items() if len(paths) > 1} == set()
    for module in ("mmpretrain", "mmdet", "mmseg"):
        stock = {path.stem for path in compat.package_configs(module).rglob("*.py")}
        assert not stock & set(ours)


def test_configs_have_no_import_lines():
    """mmengine takes a text config with an import for one of the lazy kind."""
    for path in (ROOT / "configs").rglob("*.py"):
        lines = path.read_text().splitlines()
        assert not [line for line in lines if line.startswith(("import ", "from "))], path
