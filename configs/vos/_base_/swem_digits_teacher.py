# The demo's teacher, as a teacher: it memorises the ground truth, as its student does.
_base_ = '../../demo/vos_digits_teacher.py'
model = dict(memory_masks='ground_truth')
