"""``flownas-export``: one network of a super-network as files that the other commands take."""

from __future__ import annotations

import json

import pytest
import torch

from mmkd_ext.apis.config import load_config
from mmkd_ext.apis.flownas_export import main
from mmkd_ext.distill import CheckpointError, read_checkpoint
from mmkd_ext.distill.teacher import build_model
from mmkd_ext.flow.nas import FLOWNAS_K, FLOWNAS_S, StaticFlowEncoder
from mmkd_ext.flow.nas.subnet import export_subnet, read_genotype
from tests.flow import flow_files, tiny_raft
from tests.quiet_runner import quiet_runner

from . import tiny
from .test_supernet import config as supernet_config
from .test_supernet import supernet

CONFIG = """
default_scope = 'mmkd_ext'
work_dir = 'elsewhere'
model_wrapper_cfg = dict(type='mmkd_ext.PassesDataParallel')
model = dict(
    type='Distiller', student={student!r}, teacher=dict(config={teacher!r}), input_shape=(2, 3, 32, 48),
    losses=dict(features=dict(type='FeatureAlignmentLoss', tap=dict(
        student=['feature_encoder.last_conv'], teacher=['feature_encoder.conv']))))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='FlyingChairsDataset', data_root='chairs', split='train', pipeline={pipeline!r},
        serialize_data=False))
train_cfg = dict(by_epoch=False, max_iters=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.0))
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='FlyingChairsDataset', data_root='chairs', split='val', test_mode=True,
        pipeline={pipeline!r}, serialize_data=False))
test_evaluator = dict(type='EndPointError')
test_cfg = dict(type='EvolutionSearchLoop', metric='flow/EPE')
custom_hooks = [dict(type='TeacherCheckHook'), dict(type='EmptyCacheHook')]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The work of someone who has trained a super-network, and searched; the present folder."""
    monkeypatch.chdir(tmp_path)
    flow_files.write_chairs(tmp_path / "chairs", shape=(64, 64))
    write_config()
    network = tiny.randomize(supernet()).eval()
    state = {**network.state_dict(), "distill.features.weight": torch.zeros(1)}
    torch.save(dict(state_dict=state, meta=dict(iter=7)), "supernet.pth")
    (tmp_path / "best_genotype.json").write_text(json.dumps(dict(genotype=tiny.GENOTYPE, score=1)))
    return network


def write_config(**student):
    options = dict(
        student=supernet_config(test_cfg=dict(iters=1), **student),
        teacher=tiny_raft.config(),
        pipeline=flow_files.PIPELINE,
    )
    with open("supernet.py", "w") as file:
        file.write(CONFIG.format(**options))


def test_export_test_and_train_further(project, tmp_path, capsys):
    main(["supernet.py", "supernet.pth", "--genotype", "best_genotype.json", "--out-dir", "out"])
    printed = capsys.readouterr().out
    project.set_genotype(tiny.GENOTYPE)
    assert f"\n{project.space.params(tiny.GENOTYPE):,} parameters\n" in printed
    assert f"\n{project.space.macs(tiny.GENOTYPE, (384, 512)):,} MACs" in printed
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "supernet-subnet.pth",
        "supernet-subnet.py",
    ]
    content = read_checkpoint("out/supernet-subnet.pth")
    assert (content["meta"]["iter"], content["meta"]["genotype"]) == (7, tiny.GENOTYPE)

    cfg = load_config("out/supernet-subnet.py")
    assert cfg.model.type == "mmkd_ext.RAFT"
    assert not {"work_dir", "model_wrapper_cfg"} & set(cfg)
    assert cfg.test_cfg == {}
    assert [hook.type for hook in cfg.custom_hooks] == ["EmptyCacheHook"]
    assert cfg.load_from == str(tmp_path / "out/supernet-subnet.pth")
    network, _ = build_model(cfg)
    network.load_state_dict(content["state_dict"])
    for encoder in (network.feature_encoder, network.context_encoder):
        assert type(encoder) is StaticFlowEncoder
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == project.space.params(tiny.GENOTYPE)
    pair = torch.randn(2, 2, 3, 40, 64)
    with torch.no_grad():
        flow, expected = (one.eval().estimate(pair, 3)[0][-1] for one in (network, project))
    assert torch.equal(flow, expected)

    runner = quiet_runner(cfg, tmp_path / "further")
    assert runner.test()["flow/EPE"] > 0
    runner.train()  # with a rate of 0
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, content["state_dict"][name])


def test_calibration(project, tmp_path):
    write_config(bn_mode="calibrated")
    with pytest.raises(ValueError, match=r"taken for each network anew; .* by --calibrate"):
        export_subnet("supernet.py", "supernet.pth", tiny.GENOTYPE)
    subnet = export_subnet("supernet.py", "supernet.pth", tiny.GENOTYPE, name="one", calibrate=1)
    content = read_checkpoint(subnet.weights)["state_dict"]
    # Both training pairs are in the only batch, in whichever order.
    dataset = flow_files.image(1, 0, (64, 64)), flow_files.image(2, 0, (64, 64))
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1).float() for image in dataset])
    with torch.no_grad():
        maps = project.context_encoder.stem.conv(images / 127.5 - 1)
    mean = content["context_encoder.stem.norm.running_mean"]
    torch.testing.assert_close(mean, maps.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert load_config(subnet.config).model.context_encoder.bn_mode == "tracked"
    write_config()
    with pytest.raises(ValueError, match=r"nothing to calibrate, .* have frozen01"):
        export_subnet("supernet.py", "supernet.pth", tiny.GENOTYPE, calibrate=1)
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["one.pth", "supernet.pth"]


def test_genotypes_by_name_and_from_files(tmp_path):
    assert (read_genotype("S"), read_genotype("K")) == (FLOWNAS_S, FLOWNAS_K)
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps(tiny.GENOTYPE))
    assert read_genotype(path) == {name: list(genes) for name, genes in tiny.GENOTYPE.items()}
    for text, message in (("{", "it is no JSON"), ("[1, 2]", "there is no genotype in it")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_genotype(path)
    with pytest.raises(ValueError, match="genotype 'X': there is no such file; give S, K or"):
        read_genotype("X")


def test_what_cannot_be_exported(project, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["supernet.py", "supernet.pth", "--genotype", "S"])
    assert "error: genotype: width of stage 1 is one of 8, 16" in capsys.readouterr().err
    state = read_checkpoint("supernet.pth")["state_dict"]
    del state["context_encoder.last_conv.weight"]
    torch.save(state, "part.pth")
    with pytest.raises(CheckpointError, match=r"part\.pth is not .*context_encoder\.last_conv"):
        export_subnet("supernet.py", "part.pth", tiny.GENOTYPE)
    with pytest.raises(ValueError, match="raft_chairs_100k is that of a config of ours"):
        export_subnet("supernet.py", "supernet.pth", tiny.GENOTYPE, name="raft_chairs_100k")
    (tmp_path / "raft.py").write_text(f"model = {tiny_raft.config()!r}\n")
    with pytest.raises(ValueError, match="RAFT has no ElasticFlowEncoder"):
        export_subnet("raft.py", "supernet.pth", tiny.GENOTYPE)
    assert not list(tmp_path.glob("*-subnet*"))
