# RAFT's stage on Sintel and more: 100k steps.
_base_ = './flow_raft_chairs_100k.py'
optim_wrapper = dict(optimizer=dict(lr=1.25e-4, weight_decay=1e-5))
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=1.25e-4,
        total_steps=100100,
        pct_start=0.05,
        anneal_strategy='linear',
        by_epoch=False)
]
