# The teacher: the student's segmentor, its backbone about three times as wide.
_base_ = './semseg_digits_baseline.py'
model = dict(
    backbone=dict(stem_channels=32, base_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=32),
    decode_head=dict(in_channels=[32, 32, 32, 32], channels=32))
optim_wrapper = dict(optimizer=dict(lr=5e-3))

# Where semseg_digits_distill.py looks for it; --work-dir puts it elsewhere.
work_dir = _base_.demo_root + '/teachers'
default_hooks = dict(
    checkpoint=dict(
        interval=-1, max_keep_ckpts=-1, save_last=True, filename_tmpl='semseg_digits_teacher.pth'))
