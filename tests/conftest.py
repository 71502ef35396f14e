"""Shared by all tests: quiet logs, one BLAS thread, nothing kept of another test."""

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
from mmengine.runner import CheckpointLoader
from mmengine.utils import ManagerMixin

torch.set_num_threads(1)
FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@pytest.fixture(autouse=True, scope="session")
def _first_instances():
    """What mmengine keeps for the process before any test: a quiet logger."""
    # mmengine prints three lines per parameter when weights are initialised.
    logger = MMLogger.get_instance("mmkd_ext_tests", log_level="WARNING")
    logger.setLevel(logging.WARNING)
    return {kind: kind._instance_dict.copy() for kind in _kinds(ManagerMixin)}


@pytest.fixture(autouse=True, scope="session")
def _few_flow_digits():
    """All of the image pairs take half a minute to make, and no test needs them."""
    from tests.demo_data import small_flow_digits

    if "mmkd_ext-tests-" in os.environ["MMKD_DEMO_ROOT"]:
        small_flow_digits.make()


def _kinds(kind):
    """The class and all its subclasses: each keeps its own instances."""
    return [kind, *(found for child in kind.__subclasses__() for found in _kinds(child))]


@pytest.fixture(autouse=True)
def _leave_no_trace(_first_instances):
    """A Runner makes itself the current scope, logger, hub and visualizer: no test inherits them.

    The snapshot is the session's, for one of a test would hold what a module's fixtures have made.
    """
    _restore_instances(_first_instances)
    yield
    _restore_instances(_first_instances)


def _restore_instances(first):
    for kind in _kinds(ManagerMixin):
        kind._instance_dict.clear()
        kind._instance_dict.update(first.get(kind, {}))


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
