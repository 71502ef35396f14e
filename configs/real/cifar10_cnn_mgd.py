# MGD on the last map, (N, 64, 8, 8) in both networks.
_base_ = './cifar10_cnn_kd.py'
model = dict(losses=dict(
    _delete_=True,
    mgd=dict(type='MGDLoss', tap='backbone.layer3', mask='channel', mask_ratio=0.15, loss_weight=1e-3)))
