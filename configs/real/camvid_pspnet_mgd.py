# MGD on the last map of the backbone. loss_weight: the published one, scaled from 64 x 64 cells of
# 2048 channels to 23 x 30 of 192.
_base_ = './camvid_pspnet_baseline.py'
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', student=_base_.model, input_shape=(3, 180, 240),
    teacher=dict(
        config='mmkd_ext::real/camvid_pspnet_teacher.py',
        checkpoint='work_dirs/camvid_pspnet_teacher/epoch_20.pth',
        hint='Train it first: python -m mmkd_ext train camvid_pspnet_teacher.py --data-root PATH'),
    losses=dict(mgd=dict(
        type='MGDLoss', tap='backbone.layer4', mask='pixel', mask_ratio=0.75, loss_weight=1e-3)))
