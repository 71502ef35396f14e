"""The distillation engine: distiller, teachers, taps, schedules."""

from .checkpoint import CheckpointError, read_checkpoint
from .distiller import Distiller
from .passes import PassesDataParallel
from .schedule import LossSchedule, Progress
from .tap_spec import Tap, TapError
from .teacher import EMATeacher, Teacher

__all__ = [
    "CheckpointError",
    "Distiller",
    "EMATeacher",
    "LossSchedule",
    "PassesDataParallel",
    "Progress",
    "Tap",
    "TapError",
    "Teacher",
    "read_checkpoint",
]
