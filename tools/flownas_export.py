"""FlowNAS: ``python tools/flownas_export.py CONFIG CHECKPOINT --genotype FILE`` (see ``-h``)."""

from mmkd_ext.apis.flownas_export import main

if __name__ == "__main__":
    main()
