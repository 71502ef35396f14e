"""The embedded data: real handwritten digits, written out in the forms the mm libraries read.

Two names are all a config or tool needs (both are cheap to import: no torch, no scikit-learn):

* :func:`data_root`: where demo data and demo teachers live, whatever the working directory;
* :func:`ensure`: the folder of one on-disk form, made on first use.

``digits.py`` is the source (images, labels, splits), ``folder.py`` how a folder is made once and
completely, and each on-disk form is one module that registers itself in :data:`FORMS`.
"""

from __future__ import annotations

from mmkd_ext.demo_data.folder import DemoDataError, data_root
from mmkd_ext.demo_data.forms import FORMS, ensure

__all__ = ["FORMS", "DemoDataError", "data_root", "ensure"]
