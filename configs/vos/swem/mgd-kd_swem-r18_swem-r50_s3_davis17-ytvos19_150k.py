# SWEM-R50 teaches SWEM-R18: MGD on three maps, KD on the aggregated logits. No published figure; the
# weights are those published for segmentation, and are not tuned, but that of the map at stride 4, which
# has 16 times as many positions, is a hundredth of them, as in demo/vos_digits_distill.py.
# Both memorise the student's masks, so that one's drift does not make their features incomparable.
_base_ = './swem_r18_s3_davis17-ytvos19_150k.py'
model = dict(
    _delete_=True,
    type='mmkd_ext.Distiller',
    student=_base_.model,
    input_shape=(3, 64, 64),
    teacher=dict(
        config='mmkd_ext::vos/swem/swem_r50_s3_davis17-ytvos19_150k.py',
        checkpoint='work_dirs/swem_r50_s3_davis17-ytvos19_150k/iter_150000.pth',
        student_inputs='memorized(input)',
        hint='Train it first: python -m mmkd_ext train swem_r50_s3_davis17-ytvos19_150k.py'),
    losses=dict(
        f16=dict(type='MGDLoss', tap='key_encoder[2]', mask='pixel', mask_ratio=0.75, loss_weight=2e-5),
        context=dict(type='MGDLoss', tap='fusion', mask='pixel', mask_ratio=0.75, loss_weight=2e-5),
        stride4=dict(type='MGDLoss', tap='decoder.up_8_4', mask='pixel', mask_ratio=0.75, loss_weight=2e-7),
        kd=dict(type='KDLoss', tap='aggregation', temperature=2.0, alpha=1.0)))
