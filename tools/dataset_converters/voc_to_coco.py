"""A COCO file from Pascal VOC's XML files (``-h`` for the options)."""

from mmkd_ext.apis.converters.voc_to_coco import main

if __name__ == "__main__":
    main()
