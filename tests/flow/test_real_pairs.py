"""Figures on two real pairs: Sintel's alley_1 (1, 2) and Middlebury's RubberWhale (10, 11).

They cannot be part of the project. ``MMKD_FLOW_PAIRS=FOLDER`` names a folder laid out as
configs/real/README.md says; without it these tests are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmkd_ext.flow import build_raft, end_point_error, flow_to_color, outlier_rate, read_flow
from mmkd_ext.flow.losses.feature_alignment import alignment_distance
from mmkd_ext.flow.metrics.functional import end_point_errors
from mmkd_ext.flow.nas import FLOWNAS_K, FLOWNAS_S, set_genotype
from mmkd_ext.flow.warm_start import forward_project
from mmkd_ext.frames.reading import read_image
from tests.flow.parity import fill

FOLDER = os.environ.get("MMKD_FLOW_PAIRS")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="MMKD_FLOW_PAIRS names no folder")
SINTEL = (
    "sintel_alley_1/frame_0001.png",
    "sintel_alley_1/frame_0002.png",
    "sintel_alley_1/flow_0001.flo",
)
WHALE = ("rubberwhale/frame10.png", "rubberwhale/frame11.png", "rubberwhale/flow10.flo")
ELASTIC = dict(type="ElasticFlowEncoder")


def truth(names):
    return read_flow(Path(FOLDER) / names[2])


def whale_batch():
    images = [read_image(str(Path(FOLDER) / name)) for name in WHALE[:2]]
    return dict(inputs=[torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)])


@pytest.mark.parametrize(
    ("names", "epe", "below", "outliers"),
    [
        (SINTEL, 2.802532, (0.000408, 0.698966, 0.754583), 30.103435),
        (WHALE, 1.256039, (0.256321, 0.983392, 1.0), 1.660762),
    ],
)
def test_no_motion_at_all(names, epe, below, outliers):
    flow, valid = truth(names)
    still = np.zeros_like(flow)
    assert end_point_error(still, flow, valid) == pytest.approx(epe, abs=1e-6)
    errors = end_point_errors(still, flow, valid)
    found = [float((errors < limit).mean()) for limit in (1, 3, 5)]
    assert found == pytest.approx(below, abs=1e-6)
    assert outlier_rate(still, flow, valid) == pytest.approx(outliers, abs=1e-6)


@pytest.mark.parametrize(("names", "epe"), [(SINTEL, 0.298), (WHALE, 0.226)])
def test_dis(names, epe):
    """OpenCV's DIS, medium, with its default settings; other versions differ a little."""
    images = [cv2.imread(str(Path(FOLDER) / name), cv2.IMREAD_GRAYSCALE) for name in names[:2]]
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow, valid = truth(names)
    assert end_point_error(dis.calc(*images, None), flow, valid) == pytest.approx(epe, abs=0.01)


def test_files():
    flow, valid = truth(SINTEL)
    assert valid.all()
    assert flow.mean(axis=(0, 1), dtype=np.float64) == pytest.approx(
        (-2.74301134, 0.19650228), abs=1e-5
    )
    flow, valid = truth(WHALE)
    assert not valid.all()
    assert flow[100, 100] == pytest.approx((0.5221473, -0.1286633), abs=1e-6)
    assert flow[200, 300] == pytest.approx((1.0874734, -1.0570326), abs=1e-6)


def test_colours():
    flow, valid = truth(WHALE)
    assert np.linalg.norm(flow, axis=2).max() == pytest.approx(4.6156807, abs=1e-6)
    colours = flow_to_color(flow, valid).astype(int)
    for place, expected in (((100, 100), (255, 225, 240)), ((200, 300), (244, 171, 255))):
        assert np.abs(colours[place] - expected).max() <= 1
    assert (colours[~valid] == 255).all()


def test_warm_start():
    flow = torch.from_numpy(truth(SINTEL)[0]).permute(2, 0, 1)
    found = forward_project(flow)
    assert found.mean(dim=(1, 2)).tolist() == pytest.approx((-2.7264, 0.1961), abs=1e-4)
    for (y, x), expected in {
        (100, 100): (-5.7319, -0.1187), (435, 1023): (-1.6142, 0.2389), (0, 0): (-1.7791, 0.0019)
    }.items():  # fmt: skip
        assert found[:, y, x].tolist() == pytest.approx(expected, abs=1e-4)


def figures(model):
    (found,) = model.test_step(whale_batch())
    flow, (gt, valid) = found.pred_flow.permute(1, 2, 0).numpy(), truth(WHALE)
    return [
        end_point_error(flow, gt, valid), *flow.mean(axis=(0, 1)), *flow[100, 100], *flow[200, 300]
    ]  # fmt: skip


def test_raft():
    model = fill(build_raft(test_cfg=dict(iters=12)))
    expected = [1.284996, -0.073728, 0.013921, -0.25003, 0.11515, -0.27471, 0.02773]
    assert figures(model) == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module")
def supernet():
    context = dict(ELASTIC, norm="batch")
    model = build_raft(feature_encoder=ELASTIC, context_encoder=context, test_cfg=dict(iters=12))
    return fill(model)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("S", [1.265954, -0.057916, 0.004633, -0.20580, -0.13605, -0.03987, -0.00096]),
        ("K", [1.268436, -0.060897, 0.010595, -0.26219, -0.04139, -0.42358, -0.08545]),
        ("max", [1.283611, -0.126681, 0.023869, 0.01808, 0.00959]),
        ("min", [1.260889, -0.037758, 0.002806, 0.10677, -0.04640]),
    ],
)
def test_flownas(supernet, which, expected):
    space = supernet.feature_encoder.space
    genotypes = dict(S=FLOWNAS_S, K=FLOWNAS_K, max=space.max(), min=space.min())
    set_genotype(supernet, genotypes[which])
    assert figures(supernet)[: len(expected)] == pytest.approx(expected, abs=1e-3)


STUDENT = ("stem", "stages.1", "stages.3", "stages.5", "last_conv")
TEACHER = ("convnormrelu", "layer1", "layer2", "layer3", "conv")
DISTANCES = {
    "S": ([0, 1.952301, 2.189833, 2.397393, 0.870519], [0, 0.178090, 0.108669, 0.044144, 0.020391]),
    "K": ([0, 1.986967, 1.756538, 2.404621, 0.893859], [0, 0.173337, 0.107468, 0.044310, 0.021098]),
}


def tapped(encoder, names, images):
    outputs = {}
    handles = [
        encoder.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: outputs.update({name: output})
        )
        for name in names
    ]
    with torch.no_grad():
        encoder(images)
    for handle in handles:
        handle.remove()
    return [outputs[name] for name in names]


@pytest.mark.parametrize("which", DISTANCES)
def test_feature_alignment(supernet, which):
    set_genotype(supernet, dict(S=FLOWNAS_S, K=FLOWNAS_K)[which])
    teacher = fill(build_raft())
    images = teacher.data_preprocessor(whale_batch())["inputs"][0]
    sides = (("feature_encoder", images), ("context_encoder", images[:1]))
    for (name, batch), expected in zip(sides, DISTANCES[which], strict=True):
        ours = tapped(getattr(supernet, name), STUDENT, batch)
        theirs = tapped(getattr(teacher, name), TEACHER, batch)
        found = [
            float(alignment_distance(student, other))
            for student, other in zip(ours, theirs, strict=True)
        ]
        assert found == pytest.approx(expected, abs=1e-3)
