"""Child registries of mmengine's roots, under the scope ``mmkd_ext``.

The file name is load-bearing: on meeting ``type='mmkd_ext.X'`` mmengine imports
``mmkd_ext.registry``, finds the child registry there and imports its ``locations``, so a config
needs no ``custom_imports`` to name our modules. mmengine swallows import errors of this module
(it logs them at DEBUG), so nothing but mmengine is imported here.
"""

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import EVALUATOR as MMENGINE_EVALUATOR
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS as MMENGINE_OPTIMIZERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISBACKENDS as MMENGINE_VISBACKENDS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

SCOPE = "mmkd_ext"

# Networks, distillers, teachers and distillation losses: all are models to mmengine.
MODELS = Registry(
    "model",
    parent=MMENGINE_MODELS,
    scope=SCOPE,
    locations=[
        "mmkd_ext.distill",
        "mmkd_ext.flow.data_preprocessor",
        "mmkd_ext.flow.losses",
        "mmkd_ext.flow.learnable_cost_volume",
        "mmkd_ext.flow.models",
        "mmkd_ext.flow.nas",
        "mmkd_ext.losses",
        "mmkd_ext.models",
        "mmkd_ext.vos.data_preprocessor",
        "mmkd_ext.vos.losses",
        "mmkd_ext.vos.memory",
        "mmkd_ext.vos.models",
    ],
)
MODEL_WRAPPERS = Registry(
    "model wrapper",
    parent=MMENGINE_MODEL_WRAPPERS,
    scope=SCOPE,
    locations=["mmkd_ext.distill"],
)
HOOKS = Registry(
    "hook",
    parent=MMENGINE_HOOKS,
    scope=SCOPE,
    locations=["mmkd_ext.hooks", "mmkd_ext.flow.hooks", "mmkd_ext.vos.hooks"],
)
LOOPS = Registry("loop", parent=MMENGINE_LOOPS, scope=SCOPE, locations=["mmkd_ext.search.loop"])
DATASETS = Registry(
    "dataset",
    parent=MMENGINE_DATASETS,
    scope=SCOPE,
    locations=[
        "mmkd_ext.demo_data",
        "mmkd_ext.datasets",
        "mmkd_ext.flow.datasets",
        "mmkd_ext.vos.datasets",
    ],
)
DATA_SAMPLERS = Registry(
    "data sampler",
    parent=MMENGINE_DATA_SAMPLERS,
    scope=SCOPE,
    locations=["mmkd_ext.flow.samplers", "mmkd_ext.vos.samplers"],
)
TRANSFORMS = Registry(
    "transform",
    parent=MMENGINE_TRANSFORMS,
    scope=SCOPE,
    locations=["mmkd_ext.flow.transforms", "mmkd_ext.vos.transforms"],
)
METRICS = Registry(
    "metric",
    parent=MMENGINE_METRICS,
    scope=SCOPE,
    locations=["mmkd_ext.flow.metrics", "mmkd_ext.vos.metrics"],
)
EVALUATOR = Registry("evaluator", parent=MMENGINE_EVALUATOR, scope=SCOPE)
VISUALIZERS = Registry(
    "visualizer",
    parent=MMENGINE_VISUALIZERS,
    scope=SCOPE,
    locations=["mmkd_ext.flow.visualization"],
)
# Empty: without a child of the name, mmengine warns of every config with our default scope.
VISBACKENDS = Registry("vis_backend", parent=MMENGINE_VISBACKENDS, scope=SCOPE)
OPTIMIZERS = Registry("optimizer", parent=MMENGINE_OPTIMIZERS, scope=SCOPE)
OPTIM_WRAPPERS = Registry("optim_wrapper", parent=MMENGINE_OPTIM_WRAPPERS, scope=SCOPE)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    "optimizer wrapper constructor", parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, scope=SCOPE
)
PARAM_SCHEDULERS = Registry("parameter scheduler", parent=MMENGINE_PARAM_SCHEDULERS, scope=SCOPE)

__all__ = [
    "DATASETS",
    "DATA_SAMPLERS",
    "EVALUATOR",
    "HOOKS",
    "LOOPS",
    "METRICS",
    "MODELS",
    "MODEL_WRAPPERS",
    "OPTIMIZERS",
    "OPTIM_WRAPPERS",
    "OPTIM_WRAPPER_CONSTRUCTORS",
    "PARAM_SCHEDULERS",
    "SCOPE",
    "TRANSFORMS",
    "VISBACKENDS",
    "VISUALIZERS",
]
