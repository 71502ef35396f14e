# FlowNAS-RAFT-S trained alone, stage 1 of 3: FlyingChairs.
_base_ = ['../raft/raft_chairs_100k.py', '../../_base_/models/flownas.py']
model = dict(
    feature_encoder=_base_.flownas_s, context_encoder=dict(_base_.flownas_s, norm='batch'))
