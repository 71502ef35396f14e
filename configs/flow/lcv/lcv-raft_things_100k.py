# RAFT with a learnable cost volume on FlyingThings3D: otherwise raft_things_100k.py.
_base_ = '../raft/raft_things_100k.py'
model = dict(correlation=dict(metric=dict(type='LearnableCostVolume')))
load_from = 'work_dirs/lcv-raft_chairs_100k/iter_100000.pth'
