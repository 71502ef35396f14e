# RAFT's stage on KITTI-2015: 50k steps.
_base_ = './flow_raft_chairs_100k.py'
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=1e-5))
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=1e-4,
        total_steps=50100,
        pct_start=0.05,
        anneal_strategy='linear',
        by_epoch=False)
]
train_cfg = dict(max_iters=50000)
