# Pre-training on still images (stage S0): 300k steps of 8 clips; the rate falls once, at 150k.
# 1e-5 is the rate that the authors' note gives for this batch size and two objects.
_base_ = './swem_s3_150k.py'
optim_wrapper = dict(optimizer=dict(lr=1e-5))
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[150000], gamma=0.1)]
train_cfg = dict(max_iters=300000, val_interval=50000)
custom_hooks = []  # an image has no frames to skip
