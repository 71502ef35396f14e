# RAFT's stage on FlyingThings3D: 100k steps.
_base_ = './flow_raft_chairs_100k.py'
optim_wrapper = dict(optimizer=dict(lr=1.25e-4))
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=1.25e-4,
        total_steps=100100,
        pct_start=0.05,
        anneal_strategy='linear',
        by_epoch=False)
]
