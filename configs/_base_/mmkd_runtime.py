# Tasks of our own have no task library beneath them: the package's scope, mmengine's defaults.
default_scope = 'mmkd_ext'
custom_imports = dict(imports=['mmkd_ext'], allow_failed_imports=False)
env_cfg = dict(
    cudnn_benchmark=False,  # frames of a test come in many sizes
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends, name='visualizer')
log_level = 'INFO'
load_from = None
resume = False
