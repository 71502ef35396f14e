# CWD on the logits, before they are enlarged; temperature and weight as in MGD's recipe.
_base_ = './camvid_pspnet_mgd.py'
model = dict(losses=dict(
    _delete_=True,
    cwd=dict(type='CWDLoss', tap='decode_head.conv_seg', temperature=4.0, loss_weight=3.0)))
