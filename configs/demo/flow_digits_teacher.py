# The teacher: flow_digits_raft.py, trained a third longer and kept where flow_digits_distill.py looks for
# it; --work-dir puts it elsewhere.
_base_ = './flow_digits_raft.py'
work_dir = _base_.demo_root + '/teachers'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=4, convert_to_iter_based=True),
    dict(
        type='LinearLR', start_factor=1.0, end_factor=0.01, begin=4, end=48,
        convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=48, val_interval=12)
default_hooks = dict(
    checkpoint=dict(
        interval=-1, max_keep_ckpts=-1, save_last=True, filename_tmpl='flow_digits_teacher.pth'))
