"""``make demo``: train a small network with and without a teacher, and report what it brought.

Only the command line is imported from here; torch and the rest follow when the demo runs.
"""

from __future__ import annotations

from mmkd_ext.apis.demo.command import main

__all__ = ["main"]
