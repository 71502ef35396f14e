# SWEM-R50 teaches SWEM-R18: MGD on three maps, KD on the aggregated logits. No published figure; the
# weights are those published for segmentation, and are not tuned.
# Both memorise the ground truth, so that one's drift does not make their features incomparable. Testing
# memorises predictions: train on so for a while (swem_r18_s3_davis17-ytvos19_150k.py with load_from).
_base_ = './swem_r18_s3_davis17-ytvos19_150k.py'
model = dict(
    _delete_=True,
    type='mmkd_ext.Distiller',
    student=dict(_base_.model, memory_masks='ground_truth'),
    input_shape=(3, 64, 64),
    teacher=dict(
        config='mmkd_ext::vos/_base_/swem_r50_teacher_s3.py',
        checkpoint='work_dirs/swem_r50_s3_davis17-ytvos19_150k/iter_150000.pth',
        hint='Train it first: python -m mmkd_ext train swem_r50_s3_davis17-ytvos19_150k.py'),
    losses=dict(
        f16=dict(type='MGDLoss', tap='key_encoder[2]', mask='pixel', mask_ratio=0.75, loss_weight=2e-5),
        context=dict(type='MGDLoss', tap='fusion', mask='pixel', mask_ratio=0.75, loss_weight=2e-5),
        stride4=dict(type='MGDLoss', tap='decoder.up_8_4', mask='pixel', mask_ratio=0.75, loss_weight=2e-5),
        kd=dict(type='KDLoss', tap='aggregation', temperature=2.0, alpha=1.0)))
