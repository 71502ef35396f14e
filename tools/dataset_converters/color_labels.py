"""Index images from colour labels, as CamVid's (``-h`` for the options)."""

from mmkd_ext.apis.converters.color_labels import main

if __name__ == "__main__":
    main()
