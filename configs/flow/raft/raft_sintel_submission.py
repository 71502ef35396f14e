# What Sintel's server wants of raft_sintel_100k.py: .flo files of both passes of the test set, in the run's
# folder `flow`. Each pair begins with the flow of the pair before (warm start).
_base_ = './raft_sintel_100k.py'
model = dict(test_cfg=dict(warm_start=True))
test_pipeline = [dict(type='mmkd_ext.LoadFlowPair'), dict(type='mmkd_ext.PackFlowInputs')]
sintel_test = dict(
    type='mmkd_ext.SintelDataset',
    data_root='data/Sintel',
    split='test',
    render_pass='clean',
    test_mode=True,
    pipeline=test_pipeline)
test_dataloader = dict(
    sampler=dict(_delete_=True, type='mmkd_ext.FlowSequenceSampler'),
    dataset=dict(datasets=[sintel_test, dict(sintel_test, render_pass='final')]))
test_evaluator = []
default_hooks = dict(dump=dict(type='mmkd_ext.FlowDumpHook'))
