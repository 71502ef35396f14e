"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT`` (``-h`` for the options)."""

from mmkd_ext.apis.test import main

if __name__ == "__main__":
    main()
