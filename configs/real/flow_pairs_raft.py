# The network of the digits, tested on two pairs of the world: Sintel's alley_1 (frames 1 and 2) and
# Middlebury's RubberWhale (10 and 11). data/flow_pairs/<scene>/{image 1, image 2, flow}, listed in
# flow_pairs.json; see README.md.
_base_ = '../demo/flow_digits_raft.py'
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        _delete_=True,
        type='mmkd_ext.FlowFolderDataset',
        data_root='data/flow_pairs',
        ann_file='flow_pairs.json',
        test_mode=True,
        pipeline=_base_.test_pipeline))
