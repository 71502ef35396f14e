# 60 epochs of 16 steps, AdamW with warm-up and cosine decay: the students' budget on moving digits.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=5e-4),
    clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=3, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=3, end=60, T_max=57, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=15)
val_cfg = dict()
test_cfg = dict()
