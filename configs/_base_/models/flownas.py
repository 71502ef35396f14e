# What FlowNAS's configs have in common: the loss between the five levels of both encoders and RAFT's, and the
# encoders that the authors found for Sintel (S) and KITTI (K).
flownas_alignment = dict(
    type='FeatureAlignmentLoss',
    tap=dict(
        student=[
            '{feature,context}_encoder.stem',
            '{feature,context}_encoder.stages.{1,3,5}',
            '{feature,context}_encoder.last_conv',
        ],
        teacher=[
            '{feature,context}_encoder.convnormrelu',
            '{feature,context}_encoder.layer{1-3}',
            '{feature,context}_encoder.conv',
        ]),
    loss_weight=1.0)
flownas_s = dict(
    _delete_=True,
    type='StaticFlowEncoder',
    genotype=dict(
        width=(64, 72, 96, 104, 120, 136),
        kernel_size=(3, 3, 5, 3, 5, 5),
        depth=(2, 2, 2, 1, 2, 1),
        expand_ratio=(1, 2, 5, 5, 6, 6)),
    norm='instance')
flownas_k = dict(
    _delete_=True,
    type='StaticFlowEncoder',
    genotype=dict(
        width=(64, 72, 88, 104, 120, 136),
        kernel_size=(3, 5, 3, 5, 5, 5),
        depth=(2, 1, 1, 2, 2, 1),
        expand_ratio=(1, 4, 6, 5, 6, 6)),
    norm='instance')
