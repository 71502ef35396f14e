# flow_digits_distill.py, in which the teacher also labels pairs whose flow the student is not told: its 40
# pairs once an epoch, and the other 120 of the training set. An epoch has as many steps.
_base_ = './flow_digits_distill.py'
labelled = _base_.train_dataloader.dataset.dataset
unknown = [
    dict(type='mmkd_ext.UnknownFlow') if step.type == 'mmkd_ext.LoadFlowAnnotations' else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[labelled, dict(labelled, indices=-120, pipeline=unknown)]))
