# FlowNAS-RAFT-K on KITTI-2015: what was exported from the super-network is trained further.
_base_ = ['../raft/raft_kitti_50k.py', '../../_base_/models/flownas.py']
model = dict(
    feature_encoder=_base_.flownas_k, context_encoder=dict(_base_.flownas_k, norm='batch'))
load_from = 'work_dirs/flownas_supernet_kitti/flownas_supernet_kitti-subnet.pth'
