# What KITTI's server wants of raft_kitti_50k.py: 16-bit PNGs of the test set, zipped in the run's folder.
_base_ = './raft_kitti_50k.py'
test_dataloader = dict(
    dataset=dict(
        split='test',
        pipeline=[dict(type='mmkd_ext.LoadFlowPair'), dict(type='mmkd_ext.PackFlowInputs')]))
test_evaluator = []
default_hooks = dict(dump=dict(type='mmkd_ext.FlowDumpHook', zip_name='submission.zip'))
