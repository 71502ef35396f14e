# The student alone: vos_digits_swem.py with trunks half as wide, and fewer channels.
_base_ = './vos_digits_swem.py'
model = dict(
    key_encoder=dict(width=8),
    value_trunk=dict(width=6),
    key_channels=16,
    value_channels=16,
    decoder_channels=12)
