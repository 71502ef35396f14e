"""What every test of configs shares."""

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer


@pytest.fixture(autouse=True)
def _leave_no_trace():
    """The Runner makes itself the process's current logger, scope, visualizer: undo that."""
    kinds = (DefaultScope, MMLogger, MessageHub, Visualizer)
    before = {kind: kind._instance_dict.copy() for kind in kinds}
    yield
    for kind, instances in before.items():
        kind._instance_dict.clear()
        kind._instance_dict.update(instances)
