# FlowNAS's super-network, stage 2 of 4: FlyingThings3D, from stage 1.
# How the authors train theirs is not published: sandwich rule and alignment loss are a reconstruction.
_base_ = ['../raft/raft_things_100k.py', '../../_base_/models/flownas.py']
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
        config='mmkd_ext::flow/raft/raft_things_100k.py',
        # The authors' weights of this stage, ported by torchvision.
        checkpoint='https://download.pytorch.org/models/raft_large_C_T_V1-22a6c225.pth'),
    losses=dict(alignment=_base_.flownas_alignment))
load_from = 'work_dirs/flownas_supernet_chairs/iter_100000.pth'
