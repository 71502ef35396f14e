# MGD on the three levels of the pyramid; neck and head begin with the teacher's weights.
# The published loss_weight, scaled from 100 x 168 cells of 256 channels on the finest level to 32 x 40
# of 64, would be 1e-3; a tenth of it did better on the digit scenes.
_base_ = './bccd_gfl_baseline.py'
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', student=_base_.model, input_shape=(3, 256, 320),
    teacher=dict(
        config='mmkd_ext::real/bccd_gfl_teacher.py',
        checkpoint='work_dirs/bccd_gfl_teacher/epoch_36.pth',
        hint='Train it first: python -m mmkd_ext train bccd_gfl_teacher.py --data-root PATH'),
    inherit=['neck', 'bbox_head'],
    losses=dict(mgd=dict(
        type='MGDLoss', tap='neck.fpn_convs.{0-2}.conv', mask='pixel', mask_ratio=0.65,
        loss_weight=1e-4)))
