# 36 epochs of 40 steps, AdamW with a linear rise and fall, as RAFT is trained; the rate is higher and the
# training far shorter.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=8e-4, weight_decay=1e-4, eps=1e-8),
    clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=3, convert_to_iter_based=True),
    dict(
        type='LinearLR', start_factor=1.0, end_factor=0.01, begin=3, end=36,
        convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=36, val_interval=9)
val_cfg = dict()
test_cfg = dict()
