# DeiT-III large as a teacher; see deit3-small-p16_teacher_in1k.py.
_base_ = "mmpretrain::deit3/deit3-large-p16_64xb64_in1k.py"
custom_imports = dict(imports=["mmkd_ext.models.deit3"], allow_failed_imports=False)
model = dict(backbone=dict(type="mmkd_ext.DeiT3"))
