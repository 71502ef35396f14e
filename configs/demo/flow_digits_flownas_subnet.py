# One network of the super-network for itself, trained from scratch on its data and schedule. The genotype
# is one that flow_digits_flownas_search.py found; `flownas-export` writes such a config of any other, with
# the super-network's weights to begin with.
_base_ = './flow_digits_flownas_supernet.py'
genotype = dict(
    width=(8, 16, 24, 24, 32, 32),
    kernel_size=(3, 3, 5, 3, 3, 5),
    depth=(1, 1, 2, 1, 2, 1),
    expand_ratio=(1, 2, 2, 3, 3, 3))
encoder = dict(type='StaticFlowEncoder', genotype=genotype, space=_base_.model.space)
model = dict(
    _delete_=True,
    type='mmkd_ext.RAFT',
    feature_encoder=dict(encoder, norm='instance', output_dim=48),
    context_encoder=dict(encoder, norm='batch', output_dim=64),
    **{
        key: value
        for key, value in _base_.model.items() if key not in ('type', 'space', 'random_subnets')
    })
model_wrapper_cfg = None
