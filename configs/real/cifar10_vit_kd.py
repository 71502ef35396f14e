# Plain logit distillation, beside the full cross-entropy.
_base_ = './cifar10_vit_vitkd.py'
model = dict(losses=dict(
    _delete_=True, kd=dict(type='KDLoss', tap='head.layers.head', temperature=4.0, alpha=0.9)))
