"""Runs that are killed with SIGKILL and resumed, compared bit for bit with unbroken ones."""

from __future__ import annotations

EPOCH = dict(seed=3)
ITER = dict(loop="iter", seed=3)
SETTINGS = {
    "epoch_0": dict(**EPOCH),
    "epoch_2": dict(**EPOCH, workers=2),
    "epoch_2_persistent": dict(**EPOCH, workers=2, persistent=True),
    "iter_0": dict(**ITER, sampler="InfiniteSampler", optimizer="sgd"),
    "iter_2": dict(**ITER, workers=2),
    "iter_2_persistent": dict(**ITER, workers=2, persistent=True, sampler="InfiniteSampler"),
    "iter_0_wraps": dict(**ITER, batch_size=11),
}
# Ways of indexing and looping that other libraries have.
SPECIAL = {
    "grouped": dict(
        **ITER, workers=2, sampler="InfiniteSampler", batch_sampler="mmkd_ext.WidthBatchSampler"
    ),
    "grouped_epoch": dict(**EPOCH, batch_sampler="mmkd_ext.WidthBatchSampler"),
    # (mmengine's own hook for samplers cannot do with this one.)
    "lonely": dict(
        **EPOCH, batch_sampler="mmkd_ext.LonelyBatchSampler", default_hooks=dict(sampler_seed=None)
    ),
    "eager": dict(
        **ITER,
        loop_type="mmkd_ext.EagerIterLoop",
        workers=2,
        persistent=True,
        sampler="InfiniteSampler",
    ),
}


def broken_and_unbroken(settings: dict[str, dict]) -> dict[str, dict]:
    """Per setting an unbroken run, one that is killed, and its continuation."""
    specs = {}
    for name, spec in settings.items():
        # 22 samples in batches of 4: 6 steps an epoch, and 3 for each of two ranks.
        epoch_kill = 5 if "world_size" in spec else 13
        kill_at = 10 if spec.get("loop") == "iter" else epoch_kill
        specs[name] = spec
        specs[f"{name}.killed"] = dict(**spec, kill_at=kill_at)
        specs[f"{name}.resumed"] = dict(**spec, work_dir=f"{name}.killed", resume=True)
    return specs


def assert_same_ends(runs, settings, codes):
    for name in settings:
        assert codes[name] == [0], runs.log(name)
        assert codes[f"{name}.killed"] == [-9], runs.log(f"{name}.killed")
        assert codes[f"{name}.resumed"] == [0], runs.log(f"{name}.resumed")
        assert "not end" not in runs.log(f"{name}.resumed")
        assert runs.differences(name, f"{name}.resumed") == [], name
        assert len(runs.result(name)["model"]) == 9


def test_a_killed_and_resumed_run_ends_where_an_unbroken_one_ends(runs, tmp_path):
    settings = {
        name: dict(**spec, log=str(tmp_path / f"{name}.visits"))
        if name in ("epoch_0", "epoch_2", "epoch_2_persistent")
        else spec
        for name, spec in SETTINGS.items()
    }
    specs = broken_and_unbroken(settings)
    for name, spec in specs.items():
        if "." in name:  # only unbroken runs log what they loaded
            spec.pop("log", None)
    assert_same_ends(runs, settings, runs(specs))

    # What a visit's augmentation draws depends on nothing but the visit ...
    visits = {
        name: sorted((tmp_path / f"{name}.visits").read_text().splitlines())
        for name in ("epoch_0", "epoch_2", "epoch_2_persistent")
    }
    assert visits["epoch_0"] == visits["epoch_2"] == visits["epoch_2_persistent"]
    # ... and no two visits get the same: 22 samples, 4 epochs.
    assert len(set(visits["epoch_2"])) == 22 * 4


def test_other_loops_and_batch_samplers(runs):
    assert_same_ends(runs, SPECIAL, runs(broken_and_unbroken(SPECIAL)))


def test_without_the_hook_a_resumed_run_ends_elsewhere(runs):
    stock = dict(**EPOCH, workers=2, persistent=True, exact=False, checkpoint_hook="CheckpointHook")
    specs = broken_and_unbroken({"stock": stock})
    specs["late"] = dict(**EPOCH, resume=True, work_dir="stock.killed", epochs=5)
    codes = runs(specs)
    assert codes == {"stock": [0], "stock.killed": [-9], "stock.resumed": [0], "late": [0]}
    assert "model.body.0.weight" in " ".join(runs.differences("stock", "stock.resumed"))
    # A checkpoint that stock mmengine wrote can be resumed, and the hook says what it lacks.
    assert "holds no random state" in runs.log("late")


def test_kills_from_outside_at_any_moment(runs):
    spec = dict(**ITER, sampler="InfiniteSampler", workers=2, iters=60)
    specs = {"unbroken": spec}
    for step in (8, 24, 44):  # at some moment of the steps that follow
        specs[f"killed_{step}"] = dict(
            **spec, work_dir="w", resume=True, killed_when_there_is=f"iter_{step}.pth"
        )
    specs["end"] = dict(**spec, work_dir="w", resume=True)
    codes = runs(specs)
    assert [codes[f"killed_{step}"] for step in (8, 24, 44)] == [[-9]] * 3
    assert codes["unbroken"] == codes["end"] == [0], runs.log("end")
    assert runs.differences("unbroken", "end") == []


def test_a_run_without_a_configured_seed(runs):
    free = dict(max_keep_ckpts=-1, save_best=False)
    codes = runs(
        {
            "drawn": dict(**free),
            "resumed": dict(
                **free, resume=True, load_from=str(runs.folder / "drawn" / "epoch_2.pth")
            ),
            "ranked": dict(**free, diff_rank_seed=True, workers=2),
            "ranked.resumed": dict(
                **free,
                diff_rank_seed=True,
                workers=2,
                resume=True,
                load_from=str(runs.folder / "ranked" / "epoch_1.pth"),
            ),
            "other": dict(**free),
        }
    )
    assert set(map(tuple, codes.values())) == {(0,)}
    assert runs.differences("drawn", "resumed") == []
    assert runs.differences("ranked", "ranked.resumed") == []
    assert runs.differences("drawn", "other") != []  # the seed was drawn indeed


def test_two_ranks(runs):
    spec = dict(**EPOCH, world_size=2, diff_rank_seed=True, epochs=3, workers=2)
    specs = broken_and_unbroken({"two": spec})
    for name, one in specs.items():
        one["rendezvous"] = str(runs.folder / f"{name}.rendezvous")
    # Fewer processes go on, but say that they cannot end where two would have.
    specs["alone"] = dict(**EPOCH, work_dir="two.killed", resume=True, epochs=4)
    codes = runs(specs)
    assert codes["two"] == codes["two.resumed"] == [0, 0], runs.log("two.resumed.0")
    assert codes["two.killed"][0] != 0
    assert codes["two.killed"][1] != 0
    assert runs.differences("two.0", "two.resumed.0") == []
    # A checkpoint has one model: the main process's. Batch norm's statistics, which training
    # does not use, are every rank's own.
    elsewhere = runs.differences("two.1", "two.resumed.1")
    assert [name for name in elsewhere if ".running_" not in name] == []
    # The ranks' generators differ, so a state of each was needed.
    assert any("random" in name for name in runs.differences("two.0", "two.1"))
    assert codes["alone"] == [0]
    assert "written by 2 process(es), this run has 1" in runs.log("alone")


def test_it_says_when_it_cannot_be_exact(runs):
    stream = dict(**EPOCH, dataset="mmkd_ext.VectorStream", epochs=1)
    assert runs({"stream": stream})["stream"] == [0], runs.log("stream")
    assert "IterableDataset, which has no indices" in runs.log("stream")
