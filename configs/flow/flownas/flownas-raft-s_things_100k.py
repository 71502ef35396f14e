# FlowNAS-RAFT-S trained alone, stage 2 of 3: FlyingThings3D, from stage 1.
_base_ = ['../raft/raft_things_100k.py', '../../_base_/models/flownas.py']
model = dict(
    feature_encoder=_base_.flownas_s, context_encoder=dict(_base_.flownas_s, norm='batch'))
load_from = 'work_dirs/flownas-raft-s_chairs_100k/iter_100000.pth'
