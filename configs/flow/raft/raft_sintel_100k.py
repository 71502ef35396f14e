# RAFT, stage 3 of 4: Sintel with KITTI-2015, HD1K and FlyingThings3D, from stage 2.
_base_ = [
    '../../_base_/mmkd_runtime.py',
    '../../_base_/models/raft.py',
    '../../_base_/datasets/flow_sintel.py',
    '../../_base_/schedules/flow_raft_sintel_100k.py',
]
model = dict(freeze_bn=True, loss=dict(gamma=0.85), test_cfg=dict(iters=32))
load_from = 'work_dirs/raft_things_100k/iter_100000.pth'
