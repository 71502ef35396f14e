# The teacher: ResNet-20, 3.5 times the parameters of the student.
_base_ = './cifar10_cnn_baseline.py'
model = dict(backbone=dict(depth=20))
