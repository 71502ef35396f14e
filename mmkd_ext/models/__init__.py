"""Networks that upstream lacks, or has wrong.

Those that derive from mmpretrain's (:mod:`~mmkd_ext.models.deit3`,
:mod:`~mmkd_ext.models.cifar_mobile`) are imported by the configs that use them.
"""

from mmkd_ext.models.cifar_resnet import ResNetCifar, WideResNet
from mmkd_ext.models.mobilenet_v1 import MobileNetV1

__all__ = ["MobileNetV1", "ResNetCifar", "WideResNet"]
