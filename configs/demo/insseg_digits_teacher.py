# The teacher: the student's Mask R-CNN, its backbone four times as wide.
_base_ = './insseg_digits_baseline.py'
model = dict(
    backbone=dict(stem_channels=32, base_channels=32), neck=dict(in_channels=[32, 64, 128, 256]))
optim_wrapper = dict(optimizer=dict(lr=5e-3))

# Where insseg_digits_distill.py looks for it; --work-dir puts it elsewhere.
work_dir = _base_.demo_root + '/teachers'
default_hooks = dict(
    checkpoint=dict(
        interval=-1, max_keep_ckpts=-1, save_last=True, filename_tmpl='insseg_digits_teacher.pth'))
