# SWEM from scratch on five sequences, tested on three others that look like none of them.
# Against the published network: trunks of width 32 (not 64), 32 bases (128), all channels a quarter.
_base_ = [
    '../_base_/mmkd_runtime.py',
    '../_base_/datasets/davis16_part.py',
    '../_base_/schedules/swem_davis16_part.py',
]
model = dict(
    type='mmkd_ext.SWEM',
    # Nothing is pre-trained: the batch norms must learn their statistics.
    key_encoder=dict(type='ResNetTrunk', depth=18, width=32, norm_eval=False),
    value_trunk=dict(depth=18, width=24, norm_eval=False),
    memory=dict(type='SWEMMemory', num_bases=32, topl=16),
    key_channels=32,
    value_channels=64,
    decoder_channels=48,
    single_object=True,
    loss_ce=dict(type='BootstrappedCELoss', start=200, end=700, final=0.3),
    test_cfg=dict(size={{_base_.image_size}}))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=400, max_keep_ckpts=1))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
