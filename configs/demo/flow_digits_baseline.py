# The student alone: flow_digits_raft.py with half the channels and a smaller window, and a quarter of the
# pairs, each of them four times an epoch.
_base_ = './flow_digits_raft.py'
model = dict(
    feature_encoder=dict(layers=(8, 8, 12, 16, 24)),
    context_encoder=dict(layers=(8, 8, 12, 16, 32)),
    correlation=dict(radius=2),
    hidden_channels=16,
    motion_encoder=dict(corr_layers=(24, 20), flow_layers=(12, 8), out_channels=20),
    flow_head_channels=24,
    upsampler=dict(hidden_channels=24))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=4,
        dataset=dict(_base_.train_dataloader.dataset, indices=40)))
