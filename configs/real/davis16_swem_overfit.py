# One sequence, learnt by heart: can the network, from the first mask alone, say what it has seen?
_base_ = './davis16_swem.py'

# Clips as they are, but for their order: nothing else is ever tested. Five frames, so that the memory
# meets its own errors.
train_pipeline = [
    dict(type='mmkd_ext.SampleClip', num_frames=5, max_skip=10),
    dict(type='mmkd_ext.LoadClip'),
    dict(
        type='mmkd_ext.ClipRandomResizedCrop', size={{_base_.image_size}}, scale=(0.9, 1.0),
        ratio=(1.7, 1.85)),
    dict(type='mmkd_ext.SelectObjects', max_objects=1),
    dict(type='mmkd_ext.PackClip'),
]
train_dataloader = dict(
    batch_size=2,
    dataset=dict(indices=[0], pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(indices=[0]))
test_dataloader = dict(dataset=dict(indices=[0]))
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.1, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=400, T_max=350),
]
train_cfg = dict(max_iters=400, val_interval=200)
