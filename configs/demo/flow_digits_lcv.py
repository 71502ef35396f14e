# flow_digits_raft.py with a learnable cost volume.
_base_ = './flow_digits_raft.py'
model = dict(correlation=dict(metric=dict(type='LearnableCostVolume')))
