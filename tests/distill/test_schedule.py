import math

import pytest
from mmengine.logging import MessageHub

from mmkd_ext.distill.schedule import LossSchedule, Progress, build_schedule, factor_of


def at(schedule, iteration, max_iters=100, max_epochs=10):
    return factor_of(build_schedule(schedule), Progress(iteration, max_iters, max_epochs))


def test_constant_is_one():
    assert at(None, 5) == 1
    assert at(dict(type="constant", start=0.3), 50) == 0.3


def test_warmup_counts_epochs_and_moves_every_iteration():
    schedule = dict(type="warmup", end=2)  # 10 iterations an epoch
    assert [at(schedule, i) for i in (0, 5, 10, 20, 90)] == [0, 0.25, 0.5, 1, 1]
    assert at(dict(type="warmup", begin=10, end=20, by="iter"), 15) == 0.5


def test_decays_reach_the_end_of_training():
    assert [at(dict(type="linear"), i) for i in (0, 25, 100)] == [1, 0.75, 0]
    assert at(dict(type="linear", stop=0.2), 100) == 0.2
    for i in (0, 30, 100):
        expected = (1 + math.cos(math.pi * i / 100)) / 2
        assert at(dict(type="cosine"), i) == pytest.approx(expected, abs=1e-12)


def test_stop_and_product():
    assert [at(dict(type="stop", end=3), i) for i in (29, 30, 99)] == [1, 0, 0]
    both = [dict(type="warmup", end=1), dict(type="stop", end=5)]
    assert [at(both, i) for i in (5, 20, 50)] == [0.5, 1, 0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="cosin"), "unknown loss-weight schedule 'cosin'; choose from constant"),
        (dict(type="stop"), "needs `end`"),
        (dict(type="linear", begin=5, end=2), "cannot end"),
        (dict(type="linear", by="step"), "'epoch' or 'iter'"),
    ],
)
def test_bad_schedules(config, message):
    with pytest.raises(ValueError, match=message):
        build_schedule(config)


def test_unknown_argument_and_unknown_length():
    with pytest.raises(TypeError, match="ends"):
        build_schedule(dict(type="linear", ends=3))
    with pytest.raises(ValueError, match="give `end`"):
        LossSchedule("cosine", by="iter").factor(Progress(3))
    with pytest.raises(ValueError, match="by='iter'"):
        LossSchedule("cosine", end=4).factor(Progress(3))


def test_counting_epochs_in_an_iteration_loop_is_said_aloud(monkeypatch):
    import mmkd_ext.distill.schedule as module

    lines = []
    monkeypatch.setattr(module, "print_log", lambda text, **kwargs: lines.append(text))
    schedule = LossSchedule("stop", end=20001)
    for i in range(3):
        assert schedule.factor(Progress(i, 40000, 1)) == 1
    assert len(lines) == 1
    assert "by='iter'" in lines[0]
    LossSchedule("stop", end=20001, by="iter").factor(Progress(5, 40000, 1))
    LossSchedule("cosine").factor(Progress(5, 40000, 1))
    assert len(lines) == 1


def test_progress_reads_the_message_hub():
    hub = MessageHub.get_instance("schedule_test")
    hub.update_info("iter", 7)
    hub.update_info("max_iters", 70)
    hub.update_info("max_epochs", 7)
    assert Progress.current() == Progress(7, 70, 7)
    MessageHub._instance_dict.pop("schedule_test")
