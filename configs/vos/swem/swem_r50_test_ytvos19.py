# SWEM-R50 of stage S3, to test on YouTube-VOS 2019's validation set: writes the archive that its server
# takes, since the ground truth is secret.
# 2018: --cfg-options test_dataloader.dataset.data_root=data/YouTubeVOS2018
_base_ = './swem_r50_s3_davis17-ytvos19_150k.py'
model = dict(test_cfg=dict(size=480))  # the short side; both are rounded to multiples of 16
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmkd_ext.YouTubeVOSDataset',
        data_root={{_base_.ytvos_root}},
        split='valid',
        test_mode=True,
        pipeline={{_base_.test_pipeline}}))
test_evaluator = dict(
    _delete_=True,
    type='mmkd_ext.YouTubeVOSMetric',
    format_only=True,
    outfile_prefix='work_dirs/swem_r50_test_ytvos19/submission')
