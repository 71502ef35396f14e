# RAFT-small, stage 1 of 2: FlyingChairs.
_base_ = [
    '../../_base_/mmkd_runtime.py',
    '../../_base_/models/raft_small.py',
    '../../_base_/datasets/flow_chairs.py',
    '../../_base_/schedules/flow_raft_chairs_100k.py',
]
