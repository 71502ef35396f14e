# PKD on the three levels of the pyramid, with mmrazor's weight for one-stage detectors.
_base_ = './bccd_gfl_mgd.py'
model = dict(
    inherit=None,
    losses=dict(
        _delete_=True,
        pkd=dict(type='PKDLoss', tap='neck.fpn_convs.{0-2}.conv', loss_weight=10.0)))
