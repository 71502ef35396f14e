# Main training (stage S3): 150k steps of 8 clips; the rate falls once, at 125k.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=5e-4))
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[125000], gamma=0.1)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=150000, val_interval=25000)
val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='mmkd_ext.FrameSkipHook')]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=100, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
randomness = dict(seed=123)
auto_scale_lr = dict(enable=False, base_batch_size=8)
