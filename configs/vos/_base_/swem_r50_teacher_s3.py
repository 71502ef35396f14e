# SWEM-R50 of stage S3 as a teacher: it memorises the ground truth, as its student does.
_base_ = '../swem/swem_r50_s3_davis17-ytvos19_150k.py'
model = dict(memory_masks='ground_truth')
