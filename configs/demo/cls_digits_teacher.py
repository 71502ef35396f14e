# The teacher: the student's network, four times as wide, and trained on all 897 training images
# where the students have 50. (`demo --teacher-labels few` shows what it is worth without that.)
_base_ = './cls_digits_baseline.py'
model = dict(
    backbone=dict(stem_channels=16, base_channels=16), head=dict(in_channels=128))
train_dataloader = dict(dataset=dict(ann_file=''))  # the whole folder
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, end=10, T_max=9, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=10, val_interval=1)

# Where cls_digits_distill.py looks for it; --work-dir puts it elsewhere.
work_dir = _base_.demo_root + '/teachers'
default_hooks = dict(
    logger=dict(interval=12),
    checkpoint=dict(
        interval=-1, max_keep_ckpts=-1, save_last=True, filename_tmpl='cls_digits_teacher.pth'))
