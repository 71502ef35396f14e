# DAVIS 2017 alone (stage S1): 60k steps of 8 clips; the rate falls once, at 50k.
_base_ = './swem_s3_150k.py'
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[50000], gamma=0.1)]
train_cfg = dict(max_iters=60000, val_interval=10000)
