# FlowNAS's super-network, stage 3 of 4: Sintel with KITTI-2015, HD1K and FlyingThings3D, from stage 2.
# How the authors train theirs is not published: sandwich rule and alignment loss are a reconstruction.
_base_ = ['../raft/raft_sintel_100k.py', '../../_base_/models/flownas.py']
default_hooks = dict(
    checkpoint=dict(type='mmkd_ext.CheckpointHook'),
    exact_resume=dict(type='mmkd_ext.ExactResumeHook'))
model_wrapper_cfg = dict(type='mmkd_ext.PassesDataParallel')
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', input_shape=(2, 3, 128, 128),
    student=dict(
        {key: value for key, value in _base_.model.items()
         if key not in ('feature_encoder', 'context_encoder')},
        type='FlowNASSupernet', bn_mode='frozen01', random_subnets=2),
    teacher=dict(
        config='mmkd_ext::flow/raft/raft_sintel_100k.py',
        # The authors' weights of this stage, ported by torchvision.
        checkpoint='https://download.pytorch.org/models/raft_large_C_T_SKHT_V1-0b8c9e55.pth'),
    losses=dict(alignment=_base_.flownas_alignment))
load_from = 'work_dirs/flownas_supernet_things/iter_100000.pth'
# Without the pairs that the searches on Sintel and KITTI score on.
sintel = dict(_base_.sintel, split='train', split_file='Sintel_train_val.txt')
kitti = dict(_base_.kitti, split='train')
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(type='RepeatDataset', times=100, dataset=sintel),
            dict(type='RepeatDataset', times=100, dataset=dict(sintel, render_pass='final')),
            dict(type='RepeatDataset', times=200, dataset=kitti),
            dict(type='RepeatDataset', times=5, dataset=_base_.hd1k),
            dict(_base_.things_clean, pipeline=_base_.dense_pipeline),
        ]))
