"""Knowledge distillation for OpenMMLab models, as mmengine modules.

Importing the package is cheap (no torch) and makes ``Config.fromfile`` understand
``mmkd_ext::`` bases, and ``mmseg::`` bases on every supported OpenMMLab distribution.
"""

from mmkd_ext import compat
from mmkd_ext.version import __version__

compat.apply()

__all__ = ["__version__"]
