# NKD, ResNet-50 to MobileNetV1. Schedule: the student's own, 100 epochs, 8 x 32.
_base_ = "../mobilenet_v1/mobilenet-v1_8xb32_in1k.py"
custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))  # in this pair's recipe only
model = dict(
    _delete_=True,
    type="mmkd_ext.Distiller",
    student=_base_.model,
    # The authors' code leaves the teacher in train mode, its batch norm on batch statistics:
    # --cfg-options model.teacher.mode=train does so.
    teacher=dict(
        config="mmpretrain::resnet/resnet50_8xb32_in1k.py",
        checkpoint="https://mmassets.onedl.ai/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth",
    ),
    losses=dict(
        # The student's cross-entropy stays at weight 1.
        nkd=dict(type="NKDLoss", tap="head.fc", temperature=1.0, gamma=1.5)),
)
