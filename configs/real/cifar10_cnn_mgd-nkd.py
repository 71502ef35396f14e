# MGD on the last map and NKD on the logits.
_base_ = './cifar10_cnn_mgd.py'
model = dict(losses=dict(nkd=dict(type='NKDLoss', tap='head.fc', temperature=3.0, gamma=3.5)))
