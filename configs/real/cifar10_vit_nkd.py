# NKD.
_base_ = './cifar10_vit_vitkd.py'
model = dict(losses=dict(
    _delete_=True, nkd=dict(type='NKDLoss', tap='head.layers.head', gamma=1.0)))
