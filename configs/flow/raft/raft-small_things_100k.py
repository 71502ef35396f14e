# RAFT-small, stage 2 of 2: FlyingThings3D, from stage 1.
_base_ = [
    '../../_base_/mmkd_runtime.py',
    '../../_base_/models/raft_small.py',
    '../../_base_/datasets/flow_things.py',
    '../../_base_/schedules/flow_raft_things_100k.py',
]
model = dict(test_cfg=dict(iters=32))
load_from = 'work_dirs/raft-small_chairs_100k/iter_100000.pth'
