"""Hooks: checkpoints, exact resume, checks and reports of a distillation run."""

from mmkd_ext.hooks.checkpoint import CheckpointHook
from mmkd_ext.hooks.cost_report import CostReportHook
from mmkd_ext.hooks.exact_resume import ExactResumeHook
from mmkd_ext.hooks.feature_map import FeatureMapHook
from mmkd_ext.hooks.student_checkpoint import StudentCheckpointHook
from mmkd_ext.hooks.teacher_check import TeacherCheckHook

__all__ = [
    "CheckpointHook",
    "CostReportHook",
    "ExactResumeHook",
    "FeatureMapHook",
    "StudentCheckpointHook",
    "TeacherCheckHook",
]
