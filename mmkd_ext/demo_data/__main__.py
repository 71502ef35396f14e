"""``python -m mmkd_ext.demo_data``: make all demo data now, and say where it is."""

from __future__ import annotations

from mmkd_ext.demo_data import FORMS, ensure

if __name__ == "__main__":
    for form in FORMS:
        print(ensure(form))
