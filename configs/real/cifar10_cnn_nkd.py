# NKD. Weights and temperature here and in the other CNN configs were chosen on the validation split.
_base_ = './cifar10_cnn_kd.py'
model = dict(losses=dict(
    _delete_=True, nkd=dict(type='NKDLoss', tap='head.fc', temperature=3.0, gamma=3.5)))
