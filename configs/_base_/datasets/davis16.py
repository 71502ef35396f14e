# DAVIS 2016 at 480p: one object a video; 30 videos to train on, 20 to test.
_base_ = './davis17.py'
train_dataloader = dict(dataset=dict(year=2016))
val_dataloader = dict(dataset=dict(year=2016))
test_dataloader = dict(dataset=dict(year=2016))
