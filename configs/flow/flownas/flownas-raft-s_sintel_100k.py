# FlowNAS-RAFT-S on Sintel's mix: what was exported from the super-network is trained further.
_base_ = ['../raft/raft_sintel_100k.py', '../../_base_/models/flownas.py']
model = dict(
    feature_encoder=_base_.flownas_s, context_encoder=dict(_base_.flownas_s, norm='batch'))
load_from = 'work_dirs/flownas_supernet_sintel/flownas_supernet_sintel-subnet.pth'
