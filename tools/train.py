"""Train a model, distilled or not: ``python tools/train.py CONFIG`` (``-h`` for the options)."""

from mmkd_ext.apis.train import main

if __name__ == "__main__":
    main()
