# 24 epochs of 80 steps, AdamW with one cycle of a linear rise and fall, as RAFT is trained; the rate is
# higher and the training far shorter.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4, eps=1e-8),
    clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=1, convert_to_iter_based=True),
    dict(
        type='LinearLR', start_factor=1.0, end_factor=0.01, begin=1, end=24,
        convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=24, val_interval=6)
val_cfg = dict()
test_cfg = dict()
