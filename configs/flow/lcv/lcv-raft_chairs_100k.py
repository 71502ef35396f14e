# RAFT with a learnable cost volume on FlyingChairs: otherwise raft_chairs_100k.py.
_base_ = '../raft/raft_chairs_100k.py'
model = dict(correlation=dict(metric=dict(type='LearnableCostVolume')))
