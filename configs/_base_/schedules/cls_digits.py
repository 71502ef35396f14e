# 150 epochs of 2 steps, SGD with warm-up and cosine decay: the students' budget. The rate was chosen on
# the val split.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.2, momentum=0.9, nesterov=True, weight_decay=1e-4),
    clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=15, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=15, end=150, T_max=135, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=150, val_interval=15)
val_cfg = dict()
test_cfg = dict()
