# The student alone: vos_digits_swem.py with trunks half as wide and fewer channels, and a quarter of the
# clips, each of them four times an epoch.
_base_ = './vos_digits_swem.py'
model = dict(
    key_encoder=dict(width=8),
    value_trunk=dict(width=6),
    key_channels=16,
    value_channels=16,
    decoder_channels=12)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=4,
        dataset=dict(_base_.train_dataloader.dataset, indices=16)))
