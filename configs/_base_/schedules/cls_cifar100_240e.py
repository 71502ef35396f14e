# The schedule that the distillation literature compares on (Tian et al., arXiv:1910.10699): 240 epochs,
# 64 images a step, rate / 10 at 150, 180 and 210 epochs.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=5e-4))
param_scheduler = dict(type="MultiStepLR", by_epoch=True, milestones=[150, 180, 210], gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=240, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
