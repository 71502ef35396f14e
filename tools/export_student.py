"""Write the bare student: ``python tools/export_student.py CONFIG CHECKPOINT`` (see ``-h``)."""

from mmkd_ext.apis.export import main

if __name__ == "__main__":
    main()
