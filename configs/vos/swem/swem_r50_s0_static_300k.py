# SWEM-R50, stage S0: clips made of still images.
_base_ = [
    '../../_base_/mmkd_runtime.py',
    '../../_base_/models/swem_r50.py',
    '../../_base_/datasets/static.py',
    '../../_base_/schedules/swem_s0_300k.py',
]
