"""Optical flow: ``python tools/flow_infer.py CONFIG CHECKPOINT IMAGES`` (see ``-h``)."""

from mmkd_ext.apis.flow_infer import main

if __name__ == "__main__":
    main()
