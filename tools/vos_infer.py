"""Follow objects: ``python tools/vos_infer.py CONFIG CHECKPOINT FRAMES MASKS`` (see ``-h``)."""

from mmkd_ext.apis.vos_infer import main

if __name__ == "__main__":
    main()
