"""The distance to a teacher's features, alone and in a whole search."""

from __future__ import annotations

import json

import cv2
import pytest
import torch
from mmengine.config import Config

from mmkd_ext.distill import TapError
from mmkd_ext.flow.nas.distance import FlowFeatureDistance
from mmkd_ext.registry import MODELS
from tests.flow import flow_files, tiny_raft
from tests.quiet_runner import quiet_runner

from . import tiny
from .test_supernet import config as supernet_config
from .test_supernet import supernet

TEACHER = tiny_raft.config(width=24, iters=2)


@pytest.fixture
def teacher(tmp_path):
    """A checkpoint; its network, to compare with."""
    torch.manual_seed(3)
    network = MODELS.build(TEACHER).eval()
    torch.save(network.state_dict(), tmp_path / "teacher.pth")
    return network, dict(config=TEACHER, checkpoint=str(tmp_path / "teacher.pth"))


def batches():
    """Two, of two pairs and one."""
    pairs = tiny_raft.image_pairs((32, 48), (32, 48), (32, 48))
    return [dict(inputs=pairs[:2]), dict(inputs=pairs[2:])]


def largest(network, encoder, conv, inputs):
    """Of all channels of an encoder's result: (2 B or B, h, w)."""
    images = inputs[:, 0] if encoder == "context_encoder" else torch.cat(inputs.unbind(1))
    return network.get_submodule(encoder)(images).amax(1)


@torch.no_grad()
def test_the_distance_of_each_batch(teacher):
    network, config = teacher
    model = supernet().eval()
    tiny.randomize(model)
    distance, other = FlowFeatureDistance(config), FlowFeatureDistance(config, over="batch")
    data = batches()
    distance.prepare(model, data)
    other.prepare(model, data)
    for genotype in (model.space.min(), tiny.GENOTYPE):
        model.set_genotype(genotype)
        for number, batch in enumerate(data):
            inputs = model.data_preprocessor(dict(batch))["inputs"]
            by_pair = by_batch = 0.0
            for encoder in ("feature_encoder", "context_encoder"):
                ours = largest(model, encoder, "last_conv", inputs)
                off = ours - largest(network, encoder, "conv", inputs)
                by_batch += off.square().sum(0).sqrt().mean()
                pairs = off.view(-1, len(inputs), *off.shape[1:])  # first images, second images
                by_pair += pairs.square().sum(0).sqrt().mean()
            model.test_step(dict(batch))
            found = distance(model, number, batch), other(model, number, batch)
            assert found == pytest.approx((float(by_pair), float(by_batch)), rel=1e-5)
    assert found[0] == pytest.approx(found[1])  # of the last batch, one pair
    assert distance.teacher_forwards == 2
    with pytest.raises(TapError, match=r"feature_encoder\.last_conv of the student did not fire"):
        distance(model, 0, data[0])


def test_taps_that_cannot_be_compared_are_refused(teacher):
    _, config = teacher
    model, data = supernet().eval(), batches()

    def prepared(**options):
        distance = FlowFeatureDistance(config, **options)
        distance.prepare(model, data)
        model.test_step(dict(data[0]))
        return distance

    with torch.no_grad():
        with pytest.raises(TapError, match="no such module"):
            prepared(tap="feature_encoder.last_conv")
        with pytest.raises(TapError, match="as many modules of the student as of the teacher"):
            prepared(
                tap=dict(student=["feature_encoder.stem"], teacher=["feature_encoder.conv"] * 2)
            )
        taps = dict(student=["feature_encoder.stem"], teacher=["feature_encoder.conv"])
        with pytest.raises(ValueError, match=r"feature_encoder\.stem of the student against feat"):
            prepared(tap=taps)(model, 0, data[0])
        with pytest.raises(TapError, match="recurrent_block of the student fires several times"):
            prepared(tap=["update_block.recurrent_block"])
    with pytest.raises(ValueError, match="over must be one of 'pair', 'batch'"):
        FlowFeatureDistance(config, over="image")
    with pytest.raises(ValueError, match="no EMATeacher"):
        FlowFeatureDistance(dict(type="EMATeacher"))


def test_a_search_runs_the_teacher_once_a_batch(teacher, tmp_path):
    _, config = teacher
    flow_files.write_chairs(tmp_path / "chairs", splits=(2, 2, 2), shape=(32, 48))
    weights = tmp_path / "supernet.pth"
    torch.save(tiny.randomize(supernet()).state_dict(), weights)
    cfg = Config(
        dict(
            default_scope="mmkd_ext",
            model=supernet_config(test_cfg=dict(iters=1)),
            test_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type="DefaultSampler", shuffle=False),
                dataset=dict(
                    type="FlyingChairsDataset",
                    data_root=str(tmp_path / "chairs"),
                    split="val",
                    test_mode=True,
                    pipeline=flow_files.PIPELINE,
                ),
            ),
            test_evaluator=dict(type="EndPointError"),
            test_cfg=dict(
                type="EvolutionSearchLoop",
                metric="flow/EPE",
                population=4,
                mutation=2,
                crossover=2,
                top_k=2,
                max_epochs=1,
                distance=dict(type="FlowFeatureDistance", teacher=config),
                distill_weight=0.5,
            ),
            load_from=str(weights),
        )
    )
    runner = quiet_runner(cfg, tmp_path / "work")
    ran = []
    found = runner.test_loop.distance
    found.teacher.model.feature_encoder.register_forward_hook(lambda *_: ran.append(1))
    runner.test()
    records = [
        json.loads(line)
        for line in (tmp_path / "work/search_history.jsonl").read_text().splitlines()[1:]
    ]
    assert len(records) == 8
    assert len(ran) == found.teacher_forwards == 2  # batches, not candidates x batches
    for record in records:
        metrics = record["metrics"]
        assert metrics["distance"] > 0
        assert record["score"] == metrics["flow/EPE"] + 0.5 * metrics["distance"]
    assert len({record["metrics"]["distance"] for record in records}) > 4
    # The chosen architecture is drawn.
    assert cv2.imread(str(tmp_path / "work/best_genotype.png")).shape[1] > 500
