# SWEM-R50 on DAVIS 2017 alone (stage S1).
_base_ = [
    '../../_base_/mmkd_runtime.py',
    '../../_base_/models/swem_r50.py',
    '../../_base_/datasets/davis17.py',
    '../../_base_/schedules/swem_davis17_60k.py',
]
