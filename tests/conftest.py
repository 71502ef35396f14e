"""Shared by all tests: quiet logs, one BLAS thread, a clean registry scope."""

import atexit
import logging
import os
import shutil
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
if "MMKD_DEMO_ROOT" not in os.environ:  # not the user's own demo data; one folder for all workers
    os.environ["MMKD_DEMO_ROOT"] = tempfile.mkdtemp(prefix="mmkd_ext-tests-")
    atexit.register(shutil.rmtree, os.environ["MMKD_DEMO_ROOT"], ignore_errors=True)

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader

torch.set_num_threads(1)
FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@pytest.fixture(autouse=True, scope="session")
def _quiet_logger():
    # mmengine prints three lines per parameter when weights are initialised.
    logger = MMLogger.get_instance("mmkd_ext_tests", log_level="WARNING")
    logger.setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def _clean_scope():
    """The default scope is global to mmengine: no test inherits another's."""
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def _clean_reading():
    """A Distiller closes full unpickling for its whole process; tests write files that need it."""
    _restore_reading()  # fixtures of a module may have closed it before
    yield
    _restore_reading()


_FORCED, _SCHEMES = os.environ.get(FORCE), dict(CheckpointLoader._schemes)


def _restore_reading():
    CheckpointLoader._schemes = dict(_SCHEMES)
    os.environ.pop(FORCE, None)
    if _FORCED is not None:
        os.environ[FORCE] = _FORCED


@pytest.fixture
def mmpretrain_scope():
    """Build models as a config with default_scope = 'mmpretrain' would."""
    from mmengine.registry import init_default_scope

    init_default_scope("mmpretrain")
