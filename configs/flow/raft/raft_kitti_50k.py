# RAFT, stage 4 of 4: KITTI-2015, from stage 3.
_base_ = [
    '../../_base_/mmkd_runtime.py',
    '../../_base_/models/raft.py',
    '../../_base_/datasets/flow_kitti.py',
    '../../_base_/schedules/flow_raft_kitti_50k.py',
]
model = dict(
    freeze_bn=True,
    loss=dict(gamma=0.85),
    test_cfg=dict(iters=24),
    data_preprocessor=dict(pad_mode='kitti'))
load_from = 'work_dirs/raft_sintel_100k/iter_100000.pth'
