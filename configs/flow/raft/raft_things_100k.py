# RAFT, stage 2 of 4: FlyingThings3D, from stage 1. From here on batch norms keep their statistics.
_base_ = [
    '../../_base_/mmkd_runtime.py',
    '../../_base_/models/raft.py',
    '../../_base_/datasets/flow_things.py',
    '../../_base_/schedules/flow_raft_things_100k.py',
]
model = dict(freeze_bn=True, test_cfg=dict(iters=32))
load_from = 'work_dirs/raft_chairs_100k/iter_100000.pth'
