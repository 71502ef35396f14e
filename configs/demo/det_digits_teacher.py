# The teacher: the student's detector, its backbone four times as wide.
_base_ = './det_digits_baseline.py'
model = dict(
    backbone=dict(stem_channels=32, base_channels=32), neck=dict(in_channels=[32, 64, 128, 256]))
optim_wrapper = dict(optimizer=dict(lr=2e-3))

# Where det_digits_distill.py looks for it; --work-dir puts it elsewhere.
work_dir = _base_.demo_root + '/teachers'
default_hooks = dict(
    checkpoint=dict(
        interval=-1, max_keep_ckpts=-1, save_last=True, filename_tmpl='det_digits_teacher.pth'))
