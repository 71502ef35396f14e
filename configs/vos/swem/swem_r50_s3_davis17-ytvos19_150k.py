# SWEM-R50, stage S3: the main training, on DAVIS 2017 and YouTube-VOS 2019. As in the authors' script it
# begins with ImageNet weights; after S0: --cfg-options load_from=<checkpoint of swem_r50_s0_static_300k.py>
_base_ = [
    '../../_base_/mmkd_runtime.py',
    '../../_base_/models/swem_r50.py',
    '../../_base_/datasets/davis17_ytvos19.py',
    '../../_base_/schedules/swem_s3_150k.py',
]
