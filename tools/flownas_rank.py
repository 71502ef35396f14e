"""What a search is worth: ``python tools/flownas_rank.py CONFIG CHECKPOINT`` (see ``-h``)."""

from mmkd_ext.apis.flownas_rank import main

if __name__ == "__main__":
    main()
