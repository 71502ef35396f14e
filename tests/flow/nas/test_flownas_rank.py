"""``flownas-rank``: inherited scores, genotypes of a budget, configs of trainings alone, figures."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.config import Config

from mmkd_ext.apis.errors import UserError
from mmkd_ext.apis.flownas_rank import (
    Scorer,
    budget,
    main,
    random_genotypes,
    summarize,
    table,
    write_config,
)
from mmkd_ext.flow.nas import FlowNASSpace, export_network
from mmkd_ext.registry import MODELS
from tests.flow import flow_files
from tests.flow.nas.test_supernet import config as supernet_config

SEARCH = dict(
    type="mmkd_ext.EvolutionSearchLoop", metric="EPE", constraints=dict(params=(None, 100_000))
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Config, weights and data of a search in a tiny super-network."""
    root = tmp_path_factory.mktemp("rank")
    flow_files.write_chairs(root / "data", splits=(1, 2, 2), shape=(32, 48))
    torch.manual_seed(1)
    model = supernet_config()
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), root / "super.pth")
    dataset = dict(
        type="mmkd_ext.FlyingChairsDataset",
        data_root=str(root / "data"),
        pipeline=flow_files.PIPELINE,
    )
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False))
    content = dict(
        default_scope="mmkd_ext",
        model=model,
        train_dataloader=dict(loader, dataset=dict(dataset, split="train")),
        val_dataloader=dict(loader, dataset=dict(dataset, split="val", test_mode=True)),
        test_dataloader=dict(loader, dataset=dict(dataset, split="val", test_mode=True)),
        val_evaluator=dict(type="mmkd_ext.EndPointError"),
        test_evaluator=dict(type="mmkd_ext.EndPointError"),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        val_cfg=dict(),
        test_cfg=SEARCH,
        model_wrapper_cfg=dict(type="mmkd_ext.PassesDataParallel"),
    )
    Config(content).dump(str(root / "tiny_search.py"))
    return root


def test_the_score_is_that_of_the_exported_network(project):
    cfg = Config.fromfile(project / "tiny_search.py")
    scorer = Scorer(cfg, str(project / "super.pth"))
    genotypes = random_genotypes(scorer.space, budget(scorer.space, cfg.test_cfg), 2, seed=0)
    for genotype in genotypes.values():
        score = scorer(genotype)
        plain = export_network(scorer.evaluate.model)
        errors = []
        for batch in scorer.evaluate.dataloader:
            (found,) = plain.test_step(batch)
            errors.append((found.pred_flow - found.gt_flow).norm(dim=0).mean().item())
        assert score == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    assert scorer.full_name == "flow/EPE"
    cfg.test_cfg.metric = "J"
    with pytest.raises(ValueError, match="metric='J', but the evaluator gives flow/EPE"):
        Scorer(cfg, str(project / "super.pth"))(genotype)


def test_random_genotypes_keep_to_the_budget(monkeypatch):
    space = FlowNASSpace()
    search = budget(space, dict(constraints=dict(params=(None, 5.0e6))))
    found = random_genotypes(space, search, 5, seed=0)
    assert list(found) == [f"random{i}" for i in range(5)]
    assert all(space.params(one) <= 5.0e6 for one in found.values())
    assert len({space.key(one) for one in found.values()}) == 5
    assert random_genotypes(space, search, 5, seed=0) == found
    assert random_genotypes(space, search, 5, seed=1) != found
    monkeypatch.setattr("mmkd_ext.apis.flownas_rank.DRAWS", 500)
    with pytest.raises(UserError, match="gave 0 genotypes within params <= 1,000,000, not 2"):
        random_genotypes(space, budget(space, dict(constraints=dict(params=1e6))), 2, seed=0)
    with pytest.raises(UserError, match="limits the latency, which is measured"):
        budget(space, dict(constraints=dict(latency=20)))


def test_the_config_trains_the_genotype_from_scratch(project, tmp_path):
    cfg = Config.fromfile(project / "tiny_search.py")
    space = FlowNASSpace.of(cfg.model.space)
    path = write_config(cfg, dict(name="random0", genotype=space.min()), tmp_path)
    plain = Config.fromfile(path)
    assert plain.load_from is None
    assert plain.test_cfg == {}
    model = MODELS.build(plain.model)
    # The largest, less what the smallest saves, is what the closed form counts.
    elastic = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.parameters()) == elastic.space.params(space.min())


def test_the_summary_by_hand():
    rows = [
        dict(name="found0", params=10, inherited=1.0, alone=2.0),
        dict(name="found1", params=20, inherited=2.0, alone=3.0),
        dict(name="random0", params=30, inherited=4.0, alone=4.0),
        dict(name="random1", params=40, inherited=3.0, alone=6.0),
    ]
    found = summarize(rows, "less")
    # Ranks 1 2 4 3 against 1 2 3 4: 1 - 6 * 2 / (4 * 15).
    assert found["spearman"] == pytest.approx(0.8)
    assert found["found"] == dict(mean=2.5, sd=pytest.approx(0.5**0.5), count=2)
    assert found["random"]["mean"] == 5
    text = table(rows, found, "flow/EPE")
    assert "| random1 | 40 | 3.000 | 6.000 |\n| random0" in text
    assert "correlation of 4: 0.80" in text


@pytest.mark.slow
def test_the_command(project, tmp_path, capsys):
    command = [str(project / "tiny_search.py"), str(project / "super.pth"), "--random", "3"]
    main([*command, "--work-dir", str(tmp_path)])
    content = json.loads((tmp_path / "rank.json").read_text())
    assert len(content["rows"]) == 3
    assert all(row["alone"] > 0 for row in content["rows"])
    assert "Spearman's rank correlation of 3" in capsys.readouterr().out


def test_wrong_configs(project, tmp_path, capsys):
    cfg = Config.fromfile(project / "tiny_search.py")
    cfg.test_cfg = {}
    cfg.dump(str(tmp_path / "no_search.py"))
    largest = FlowNASSpace.of(cfg.model.space).max()
    (tmp_path / "largest.json").write_text(json.dumps(dict(genotype=largest)))
    weights = str(project / "super.pth")
    too_large = [
        str(project / "tiny_search.py"),
        weights,
        "--found",
        str(tmp_path / "largest.json"),
    ]
    for arguments, message in (
        (too_large, "wants params <= 100,000; compare what one budget found"),
        ([str(tmp_path / "no_search.py"), "x.pth"], "no EvolutionSearchLoop"),
        ([str(project / "tiny_search.py"), "x.pth", "--random", "2"], "three genotypes or more"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
