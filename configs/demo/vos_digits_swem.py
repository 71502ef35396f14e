# SWEM on moving digits, trained from scratch; the teacher is this, and the student is narrower.
# Against the published network: trunks of width 16 (not 64), 16 bases (128), all channels an eighth or less.
_base_ = [
    '../_base_/mmkd_runtime.py',
    '../_base_/datasets/vos_digits.py',
    '../_base_/schedules/vos_digits.py',
]
model = dict(
    type='mmkd_ext.SWEM',
    # Nothing is pre-trained: the batch norms must learn their statistics.
    key_encoder=dict(type='ResNetTrunk', depth=18, width=16, norm_eval=False),
    value_trunk=dict(depth=18, width=12, norm_eval=False),
    memory=dict(type='SWEMMemory', num_bases=16, topl=8),
    key_channels=16,
    value_channels=32,
    decoder_channels=24)
custom_hooks = [dict(type='mmkd_ext.FrameSkipHook')]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=8),
    checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=30, max_keep_ckpts=2))  # halfway, and at the end
randomness = dict(seed=0)
