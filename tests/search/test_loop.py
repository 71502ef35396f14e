"""The search through a real Runner, in one process and in two."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from torch.utils.data import DataLoader

from mmkd_ext.apis.test import main
from mmkd_ext.search.calibration import averaging_batch_norms
from mmkd_ext.search.measuring import MIB, measure_memory
from tests.quiet_runner import quiet_runner
from tests.search.tiny import SquaredError, TinyElastic, TinyImages, TinyWidths, settings, weights
from tests.two_ranks import run_ranks


@pytest.fixture
def checkpoint(tmp_path):
    return weights(tmp_path / "weights.pth")


def search(folder, checkpoint, **changes):
    """Run a search; its loop, the records of its history, and its result."""
    runner = quiet_runner(Config(settings(folder, checkpoint, **changes)), folder)
    result = runner.test()
    lines = (folder / "search_history.jsonl").read_text().splitlines()
    return runner.test_loop, [json.loads(line) for line in lines[1:]], result


def network(checkpoint, genotype):
    model = TinyElastic().eval()
    model.load_state_dict(torch.load(checkpoint)["state_dict"])
    model.body.set_genotype(genotype)
    return model


def squared_error(values, targets):
    return ((values - targets) ** 2).mean()


@torch.no_grad()
def predicted(model):
    return model(TinyImages().images)


def test_scores_are_those_of_the_sub_networks_and_the_best_is_handed_over(tmp_path, checkpoint):
    loop, records, result = search(tmp_path, checkpoint, constraints=dict(params=(20, 60)))
    assert len(records) == 18
    data, space = TinyImages(), TinyWidths()
    for record in records:
        values = predicted(network(checkpoint, record["genotype"]))
        assert record["score"] == pytest.approx(
            float(squared_error(values, data.targets)), rel=1e-5
        )
        assert record["metrics"]["tiny/count"] == 7
        assert record["costs"] == {"params": space.params(record["genotype"])}
        assert 20 <= record["costs"]["params"] <= 60
    best = min(records, key=lambda record: record["score"])
    handed = json.loads((tmp_path / "best_genotype.json").read_text())
    assert handed == {**best, "rule": "less"}
    assert result["search/score"] == result["tiny/error"] == best["score"]
    assert list(loop.network.body.width) == best["genotype"]["width"]
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == ["score_generation.png", "score_params.png"]


def test_two_processes_make_the_history_of_one(tmp_path, checkpoint):
    """By the command, with metrics that gather in two ways, and an odd number of candidates."""
    changes = dict(constraints=dict(params=(None, 60), memory=(None, 0.0105)), population=7)
    changes.update(calibration=dict(batches=2), distance=dict(type="TeacherDistance"))
    config = tmp_path / "search.py"
    Config(settings("unset", **changes)).dump(config)
    one, two = tmp_path / "one", tmp_path / "two"
    main([str(config), checkpoint, "--work-dir", str(one)])
    command = ["test", str(config), checkpoint, "--work-dir", str(two), "--launcher", "pytorch"]
    for cut in (None, -700):  # from the beginning, and once more as if they had been killed
        if cut is not None:
            (two / "best_genotype.json").unlink()
            content = (two / "search_history.jsonl").read_bytes()
            (two / "search_history.jsonl").write_bytes(content[:cut])
        run_ranks("mmkd_ext", *command)
        for name in ("search_history.jsonl", "best_genotype.json"):
            assert (one / name).read_bytes() == (two / name).read_bytes()
    records = (one / "search_history.jsonl").read_text().splitlines()[1:]
    rejected = [json.loads(line) for line in records if "rejected" in line]
    assert {record["rejected"] for record in rejected} == {"memory"}
    assert {record["score"] for record in rejected} == {None}
    assert len(records) - len(rejected) > 14


def test_a_search_that_was_cut_goes_on_to_the_same_end(tmp_path, checkpoint):
    changes = dict(distance=dict(type="TeacherDistance"), distill_weight=0.3)
    search(tmp_path / "whole", checkpoint, **changes)
    content = (tmp_path / "whole" / "search_history.jsonl").read_bytes()
    again = tmp_path / "cut"
    again.mkdir()
    (again / "search_history.jsonl").write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="is incomplete"):
        loop, _, _ = search(again, checkpoint, **changes)
    assert (again / "search_history.jsonl").read_bytes() == content
    assert loop.distance.teacher_forwards == 3  # once for each batch, not for each candidate
    assert loop.distance.finished
    best = (tmp_path / "whole" / "best_genotype.json").read_bytes()
    assert (again / "best_genotype.json").read_bytes() == best


def test_other_weights_do_not_continue_a_search(tmp_path, checkpoint):
    search(tmp_path / "work", checkpoint, max_epochs=0)
    other = weights(tmp_path / "other.pth", seed=1)
    with pytest.raises(ValueError, match=r"another search: settings\.weights was"):
        search(tmp_path / "work", other, max_epochs=0)
    with pytest.raises(ValueError, match=r"settings\.distill_weight was null, is 0\.5"):
        search(tmp_path / "work", checkpoint, max_epochs=0, distill_weight=0.5,
               distance=dict(type="TeacherDistance"))  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        dict(test_dataloader=dict(batch_size=7)),  # the distance is a mean over batches
        dict(data_preprocessor=dict(type="BaseDataPreprocessor", non_blocking=True)),
        dict(test_evaluator=[dict(type="SquaredError", prefix="tiny")]),
    ],
)
def test_other_scores_do_not_continue_a_search(tmp_path, checkpoint, change):
    search(tmp_path, checkpoint, max_epochs=0)
    config = Config(settings(tmp_path, checkpoint, max_epochs=0))
    config.test_dataloader.pin_memory = True  # of no consequence
    quiet_runner(copy.deepcopy(config), tmp_path).test()
    config.merge_from_dict(change)
    with pytest.raises(ValueError, match=r"another search: settings\.config was"):
        quiet_runner(config, tmp_path).test()


def test_another_teacher_in_the_same_file_does_not_continue_a_search(tmp_path, checkpoint):
    teacher = tmp_path / "teacher.pth"
    distance = dict(type="TeacherDistance", teacher=dict(checkpoint=str(teacher)))
    teacher.write_bytes(b"one")
    search(tmp_path / "work", checkpoint, max_epochs=0, distance=distance)
    teacher.write_bytes(b"two")
    with pytest.raises(ValueError, match=r"another search: settings\.distance\.teacher\.checkp"):
        search(tmp_path / "work", checkpoint, max_epochs=0, distance=distance)


def test_weights_that_are_missing_are_not_searched(tmp_path, checkpoint, capsys):
    config = tmp_path / "search.py"
    Config(settings("unset")).dump(config)
    content = torch.load(checkpoint)
    del content["state_dict"]["body.first.weight"]
    torch.save(content, tmp_path / "part.pth")
    with pytest.raises(SystemExit):
        main([str(config), str(tmp_path / "part.pth"), "--work-dir", str(tmp_path / "work")])
    assert (
        "lacks 1 weights of this TinyElastic, such as body.first.weight" in capsys.readouterr().err
    )


@pytest.mark.parametrize(("rule", "sign"), [("less", 1), ("greater", -1)])
def test_the_distance_has_its_own_weight(tmp_path, checkpoint, rule, sign):
    changes = dict(rule=rule, distance=dict(type="TeacherDistance"), distill_weight=0.25)
    _, records, _ = search(tmp_path, checkpoint, max_epochs=0, **changes)
    images = TinyImages().images
    for record in records:
        values = predicted(network(checkpoint, record["genotype"]))
        off = (values - images.amin((1, 2, 3))).abs()
        distance = torch.stack([part.mean() for part in off.split(3)]).mean()
        assert record["metrics"]["distance"] == pytest.approx(float(distance), rel=1e-4)
        error = record["metrics"]["tiny/error"]
        expected = error + sign * 0.25 * record["metrics"]["distance"]
        assert record["score"] == expected


def test_each_candidate_is_calibrated_on_its_own(tmp_path, checkpoint):
    _, records, _ = search(tmp_path, checkpoint, max_epochs=0, calibration=dict(batches=2))
    images, targets = TinyImages().images, TinyImages().targets
    for record in records:
        model = network(checkpoint, record["genotype"])
        width = record["genotype"]["width"][0]
        with torch.no_grad():
            maps = [model.body.first(part)[:, :width] for part in (images[:3], images[3:6])]
        norm = model.body.norm
        norm.running_mean[:width] = sum(part.mean((0, 2, 3)) for part in maps) / 2
        norm.running_var[:width] = sum(part.var((0, 2, 3)) for part in maps) / 2
        assert record["score"] == pytest.approx(
            float(squared_error(predicted(model), targets)), rel=1e-4
        )


def test_workers_of_a_calibration_begin_anew_for_each_candidate(tmp_path, checkpoint):
    """Else a score would depend on how many candidates its process has evaluated."""
    loader = dict(
        batch_size=3,
        num_workers=1,
        persistent_workers=True,
        dataset=dict(type="TinyImages", noise=0.3),
        sampler=dict(type="DefaultSampler", shuffle=False),
    )
    changes = dict(max_epochs=0, population=4, mutation=0, crossover=0)
    changes["calibration"] = dict(batches=2, dataloader=loader)
    _, whole, _ = search(tmp_path, checkpoint, **changes)
    history = tmp_path / "search_history.jsonl"
    lines = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join(lines[:3]))
    _, again, _ = search(tmp_path, checkpoint, **changes)
    assert again == whole
    loader = DataLoader(TinyImages(), batch_size=3, num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match="the loader of the calibration has persistent_workers"):
        search(tmp_path, checkpoint, calibration=dict(batches=2, dataloader=loader))


def test_calibration_leaves_everything_but_statistics_as_it_was(checkpoint):
    model = network(checkpoint, {"width": (6, 6)})
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad(), averaging_batch_norms(model):
        predicted(model)
    changed = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert changed == {f"body.norm.{name}" for name in
                       ("running_mean", "running_var", "num_batches_tracked")}  # fmt: skip
    assert not any(module.training for module in model.modules())
    assert model.body.norm.momentum == 0.1


def test_memory_is_that_of_the_tensors_that_live_at_the_same_time():
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 1)
    )
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        bytes_ = MIB * measure_memory(
            layers, lambda: image, torch.device("cpu"), [*layers.parameters()]
        )
    assert bytes_ == 4 * 16 * 16 * (8 + 8)  # what the ReLU reads and writes


def test_latency_is_noted_and_limited(tmp_path, checkpoint):
    loop, records, _ = search(
        tmp_path / "all",
        checkpoint,
        max_epochs=0,
        constraints=dict(latency=(0, 1e6)),
        latency_runs=3,
    )
    assert all(record["costs"]["latency"] > 0 for record in records)
    before = (tmp_path / "all" / "search_history.jsonl").read_bytes()
    loop.run()  # it is finished: no other latency is measured
    assert (tmp_path / "all" / "search_history.jsonl").read_bytes() == before
    with pytest.raises(ValueError, match="measured meets latency <= 1e-09"):
        search(tmp_path / "none", checkpoint, constraints=dict(latency=1e-9), latency_runs=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(metric="EPE"), "metric='EPE', but the evaluator gives tiny/error, tiny/count, gath"),
        (
            dict(space=dict(type="TinyWidths", most=2), constraints=dict(params=3)),
            "none of .* drawn",
        ),
        (dict(distance=dict(type="TeacherDistances")), "TeacherDistances"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(tmp_path, checkpoint, change, message):
    with pytest.raises((ValueError, KeyError), match=message):
        search(tmp_path, checkpoint, **change)


def test_a_loader_that_shuffles_and_a_rigid_network_are_refused(tmp_path, checkpoint):
    config = settings(tmp_path, checkpoint)
    config["test_dataloader"]["sampler"]["shuffle"] = True
    with pytest.raises(ValueError, match="the data loader shuffles"):
        quiet_runner(Config(config), tmp_path).test()
    from mmengine.runner import Runner

    from mmkd_ext.search import EvolutionSearchLoop

    loader = DataLoader(TinyImages(), batch_size=3)
    runner = Runner(torch.nn.Linear(1, 1), str(tmp_path), log_level="ERROR", cfg={})
    with pytest.raises(ValueError, match="neither Linear nor a module in it has set_genotype"):
        EvolutionSearchLoop(runner, loader, Evaluator([SquaredError()]), metric="tiny/error")


def test_a_process_of_two_that_fails_says_so_in_both(tmp_path, checkpoint):
    config = tmp_path / "search.py"
    Config(settings(tmp_path, metric="EPE")).dump(config)
    with pytest.raises(AssertionError) as error:
        run_ranks("mmkd_ext", "test", str(config), checkpoint, "--launcher", "pytorch")
    for rank in (0, 1):
        assert f"error (rank {rank}): metric='EPE'" in str(error.value)
    shutil.rmtree(tmp_path)
