# SWEM-R18, stage S3, as SWEM-R50.
_base_ = [
    '../../_base_/mmkd_runtime.py',
    '../../_base_/models/swem_r18.py',
    '../../_base_/datasets/davis17_ytvos19.py',
    '../../_base_/schedules/swem_s3_150k.py',
]
