# The teacher: vos_digits_swem.py, kept where vos_digits_distill.py looks for it; --work-dir puts it elsewhere.
_base_ = './vos_digits_swem.py'
work_dir = _base_.demo_root + '/teachers'
default_hooks = dict(
    checkpoint=dict(
        interval=-1, max_keep_ckpts=-1, save_last=True, filename_tmpl='vos_digits_teacher.pth'))
