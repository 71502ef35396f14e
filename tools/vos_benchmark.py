"""Measure a network that follows objects: ``python tools/vos_benchmark.py CONFIG`` (see ``-h``)."""

from mmkd_ext.apis.vos_benchmark import main

if __name__ == "__main__":
    main()
