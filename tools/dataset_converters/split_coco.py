"""Hold a part of a COCO annotation file out (``-h`` for the options)."""

from mmkd_ext.apis.converters.split_coco import main

if __name__ == "__main__":
    main()
