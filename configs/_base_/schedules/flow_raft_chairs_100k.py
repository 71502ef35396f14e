# RAFT's first stage: 100k steps, AdamW, one cycle of a linear rise and a linear fall, 100 steps of which
# are left over at the end, as in the authors' code.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=4e-4, weight_decay=1e-4, eps=1e-8),
    clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=4e-4,
        total_steps=100100,
        pct_start=0.05,
        anneal_strategy='linear',
        by_epoch=False)
]
train_cfg = dict(by_epoch=False, max_iters=100000, val_interval=5000)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=100),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=3,
        save_best='flow/EPE', rule='less'))
randomness = dict(seed=1234)
