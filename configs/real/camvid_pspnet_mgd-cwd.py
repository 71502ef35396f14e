# MGD on the last map of the backbone and CWD on the logits.
_base_ = './camvid_pspnet_mgd.py'
model = dict(losses=dict(
    cwd=dict(type='CWDLoss', tap='decode_head.conv_seg', temperature=4.0, loss_weight=3.0)))
