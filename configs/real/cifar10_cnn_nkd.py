_base_ = './cifar10_cnn_kd.py'
model = dict(losses=dict(
    _delete_=True, nkd=dict(type='NKDLoss', tap='head.fc', temperature=3.0, gamma=1.5)))
