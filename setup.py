"""Packaging. The payload for mim (tools, configs, model index) is copied at build time.

mim looks for ``<package>/.mim``. Links in the source tree would make onedl-mim find every config
twice in an editable install, so nothing is put there: an editable install falls back to the
checkout itself, and a wheel gets copies.
"""

import atexit
import re
import shutil
import tempfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PAYLOAD = ("tools", "configs", "model-index.yml", "dataset-index.yml")
# Caches, and what makes the environment of a checkout.
LEFT_OUT = ("__pycache__", "*.pyc", "setup_env.py", "environment")
# onedl-mim takes the first path of RECORD for the package, and mmkd_ext-*.dist-info sorts before
# mmkd_ext: a folder that sorts before both carries the payload once more.
PAYLOAD_FOLDERS = ("mmkd_ext/.mim", "_mmkd_ext/.mim")

# From the checkout, `python -m mim` would take what a build leaves here for the installed package.
atexit.register(shutil.rmtree, ROOT / "mmkd_ext.egg-info", ignore_errors=True)


def read_version() -> str:
    """The version, without importing the package."""
    text = (ROOT / "mmkd_ext" / "version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE).group(1)


def read_requirements(name: str) -> list[str]:
    """The requirements of one file of ``requirements/``."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    stripped = (line.partition("#")[0].strip() for line in lines)
    return [line for line in stripped if line]


class BuildOutside(build):
    """Builds in a temporary folder.

    ``pip install .`` would leave ``build/lib`` with a copy of every config in the checkout, and
    mim refuses a config name that it finds twice.
    """

    def initialize_options(self) -> None:
        """Choose the folder; ``--build-base`` still overrides it."""
        super().initialize_options()
        self.build_base = tempfile.mkdtemp(prefix="mmkd_ext-build-")
        atexit.register(shutil.rmtree, self.build_base, ignore_errors=True)


class BuildWithPayload(build_py):
    """Adds what mim looks for to a wheel."""

    def run(self) -> None:
        """Build, then copy the payload; nothing is copied for an editable install."""
        super().run()
        if self.editable_mode:
            return
        for folder in PAYLOAD_FOLDERS:
            target = Path(self.build_lib) / folder
            for name in PAYLOAD:
                source = ROOT / name
                if source.is_dir():
                    ignore = shutil.ignore_patterns(*LEFT_OUT)
                    shutil.copytree(source, target / name, ignore=ignore, dirs_exist_ok=True)
                elif source.is_file():
                    target.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target / name)


setup(
    name="mmkd_ext",  # mim finds a third-party package only where both names are the same
    version=read_version(),
    description="Knowledge distillation for OpenMMLab models",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8")
    if (ROOT / "README.md").is_file()
    else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=find_packages(include=("mmkd_ext", "mmkd_ext.*")),
    include_package_data=True,
    python_requires=">=3.10,<3.13",
    install_requires=read_requirements("runtime"),
    extras_require={
        name: read_requirements(name)
        for name in ("onedl", "openmmlab", "optional", "tests", "docs")
    },
    cmdclass={"build": BuildOutside, "build_py": BuildWithPayload},
    zip_safe=False,
)
