"""Tests of one config each, some of which take long."""

import pytest


def by_path(paths, slow):
    """Parametrize by ``path``; the stems among ``slow`` are marked so."""
    return pytest.mark.parametrize(
        "path",
        [
            pytest.param(path, marks=pytest.mark.slow if path.stem in slow else (), id=path.stem)
            for path in paths
        ],
    )
