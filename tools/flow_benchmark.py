"""Measure RAFT's time and memory: ``python tools/flow_benchmark.py`` (see ``-h``)."""

from mmkd_ext.apis.flow_benchmark import main

if __name__ == "__main__":
    main()
