# A search in the trained super-network of flow_digits_flownas_supernet.py: the best encoder of at most
# 290,000 parameters, update block included, by the EPE on the validation pairs.
_base_ = './flow_digits_flownas_supernet.py'
test_dataloader = dict(_base_.val_dataloader)
test_evaluator = [dict(type='mmkd_ext.EndPointError', occlusion=False)]
test_cfg = dict(
    type='mmkd_ext.EvolutionSearchLoop',
    metric='EPE',
    constraints=dict(params=(None, 290_000)),
    input_size=(192, 256),
    max_epochs=4,
    population=10,
    top_k=4,
    mutation=4,
    crossover=4)
