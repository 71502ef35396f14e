# The teacher: vos_digits_swem.py, trained three times as long and kept where vos_digits_distill.py looks
# for it; --work-dir puts it elsewhere.
_base_ = './vos_digits_swem.py'
work_dir = _base_.demo_root + '/teachers'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=9, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=9, end=180, T_max=171, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=180, val_interval=30)
default_hooks = dict(
    checkpoint=dict(
        interval=-1, max_keep_ckpts=-1, save_last=True, filename_tmpl='vos_digits_teacher.pth'))
