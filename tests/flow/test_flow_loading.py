"""From files to the packed item: which pixels are known and which are hidden."""

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose

from mmkd_ext.flow.datasets import KITTI2015Dataset, SintelDataset
from mmkd_ext.flow.formats import write_flow
from mmkd_ext.flow.transforms import LoadFlowAnnotations, LoadFlowPair, PackFlowInputs, UnknownFlow

from .flow_files import (
    LOAD,
    PIPELINE,
    QUICK,
    SHAPE,
    flow,
    image,
    left_column,
    write_image,
    write_kitti,
    write_sintel,
)

KNOWN = np.zeros(SHAPE, bool)
KNOWN[::2] = True
LEFT = left_column() > 0


@pytest.fixture
def pair(tmp_path) -> dict:
    """The files of one pair, as a dataset names them."""
    for t in (0, 1):
        write_image(tmp_path / f"{t}.png", image(1, t))
    write_flow(tmp_path / "0.flo", flow(1, 0))
    return {
        "img1_path": str(tmp_path / "0.png"),
        "img2_path": str(tmp_path / "1.png"),
        "flow_path": str(tmp_path / "0.flo"),
        "sparse": False,
    }


def loaded(pair: dict, **setting) -> dict:
    return LoadFlowAnnotations(**setting)(LoadFlowPair()(dict(pair)))


def test_images_are_rgb(pair):
    results = LoadFlowPair()(dict(pair))
    for t in (0, 1):
        np.testing.assert_array_equal(results[f"img{t + 1}"], image(1, t))
    assert results["ori_shape"] == SHAPE


def test_images_of_two_sizes(pair, tmp_path):
    write_image(tmp_path / "1.png", image(1, 1, (24, 40)))
    with pytest.raises(ValueError, match=r"0\.png is 32 x 24 and .*1\.png 40 x 24 pixels"):
        LoadFlowPair()(dict(pair))
    for content in (b"no image", b""):
        (tmp_path / "1.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"1\.png: not an image that OpenCV can decode"):
            LoadFlowPair()(dict(pair))


def test_large_components_are_not_known(pair, tmp_path):
    content = flow(1, 0)
    content[0, :4] = [(999, 0), (1000, 0), (0, -1000), (3, -2000)]
    valid = np.ones(SHAPE, bool)
    valid[1, 1] = False  # said by the format's own 1.67e9
    write_flow(tmp_path / "0.flo", content, valid)
    results = loaded(pair)
    np.testing.assert_array_equal(results["gt_valid"], valid)
    np.testing.assert_array_equal(results["gt_flow"][0], content[0])
    results = loaded(pair, max_component=1000)
    valid[0, 1:4] = False
    np.testing.assert_array_equal(results["gt_valid"], valid)
    assert results["gt_flow"].dtype == np.float32
    assert not results["gt_flow"][~valid].any()
    np.testing.assert_array_equal(results["gt_flow"][valid], content[valid])
    assert "gt_occluded" not in results
    with pytest.raises(ValueError, match="max_component is a length above 0, not 0"):
        LoadFlowAnnotations(max_component=0)


def test_a_flow_that_counts_as_unknown(pair):
    results = UnknownFlow()(LoadFlowPair()(dict(pair)))
    assert results["gt_flow"].shape == (*SHAPE, 2)
    assert results["gt_flow"].dtype == np.float32
    assert results["gt_valid"].shape == SHAPE
    assert not results["gt_valid"].any()
    sample = PackFlowInputs()(results)["data_samples"]
    assert not sample.gt_valid.any()


def test_a_pair_without_ground_truth_stays_as_it_is(pair):
    del pair["flow_path"]
    assert set(loaded(pair)) == {*pair, "img1", "img2", "ori_shape"}


def test_kitti_tells_the_occluded_by_two_files(tmp_path):
    write_kitti(tmp_path, 3)
    results = KITTI2015Dataset(data_root=str(tmp_path), **QUICK, pipeline=LOAD)[2]
    np.testing.assert_array_equal(results["gt_valid"], KNOWN)
    np.testing.assert_array_equal(results["gt_occluded"], KNOWN & LEFT)
    np.testing.assert_array_equal(results["gt_flow"][KNOWN], flow(2, 0)[KNOWN])
    write_flow(tmp_path / "training" / "flow_noc" / "000002_10.png", flow(2, 0, (24, 40)))
    with pytest.raises(ValueError, match=r"flow_noc/000002_10\.png is 40 x 24, but its image"):
        KITTI2015Dataset(data_root=str(tmp_path), **QUICK, pipeline=LOAD)[2]


def test_sintel_has_masks(tmp_path):
    write_sintel(tmp_path)
    results = SintelDataset(data_root=str(tmp_path), **QUICK, pipeline=LOAD)[0]
    np.testing.assert_array_equal(results["gt_occluded"], LEFT)
    assert results["gt_valid"].all()
    dataset = SintelDataset(data_root=str(tmp_path), **QUICK, pipeline=LOAD, invalid=True)
    results = dataset[0]
    assert not results["gt_valid"][0].any()
    assert results["gt_valid"][1:].all()
    assert not results["gt_flow"][0].any()
    mask = tmp_path / "training" / "invalid" / "alley_1" / "frame_0001.png"
    write_image(mask, left_column((23, 32)))
    with pytest.raises(ValueError, match=r"frame_0001\.png is 32 x 23, but its image .* 32 x 24"):
        dataset[0]
    mask.write_bytes(b"no mask")
    with pytest.raises(ValueError, match=r"frame_0001\.png: not a mask that OpenCV can read"):
        dataset[0]
    mask.unlink()
    with pytest.raises(ValueError, match=r"frame_0001\.png: there is no such mask"):
        dataset[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_value_but_zero_counts_in_a_mask(pair, tmp_path, dtype):
    mask = np.zeros(SHAPE, dtype)
    mask[3, 4], mask[5, 6] = 1, 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    results = loaded(dict(pair, occlusion_path=str(tmp_path / "mask.png")))
    np.testing.assert_array_equal(results["gt_occluded"], mask > 0)


def test_flow_of_another_size(pair, tmp_path):
    write_flow(tmp_path / "0.flo", flow(1, 0, (24, 30)))
    with pytest.raises(ValueError, match=r"0\.flo is 30 x 24, but its image .*0\.png 32 x 24"):
        loaded(pair)


def test_the_packed_item(tmp_path):
    write_kitti(tmp_path, 2)
    item = KITTI2015Dataset(data_root=str(tmp_path), **QUICK, pipeline=PIPELINE)[1]
    inputs, sample = item["inputs"], item["data_samples"]
    assert (inputs.shape, inputs.dtype) == ((2, 3, *SHAPE), torch.uint8)
    for t in (0, 1):
        np.testing.assert_array_equal(inputs[t].permute(1, 2, 0).numpy(), image(1, t))
    assert (sample.gt_flow.shape, sample.gt_flow.dtype) == ((2, *SHAPE), torch.float32)
    assert sample.gt_flow[:, 0, 0].tolist() == [1, -1]
    np.testing.assert_array_equal(sample.gt_valid.numpy(), KNOWN)
    np.testing.assert_array_equal(sample.gt_occluded.numpy(), KNOWN & LEFT)
    images = str(tmp_path / "training" / "image_2")
    assert sample.metainfo == {
        "img1_path": f"{images}/000001_10.png",
        "img2_path": f"{images}/000001_11.png",
        "ori_shape": SHAPE,
        "sequence": "000001",
        "index": 0,
        "frame": "000001_10",
        "sparse": True,
        "result_path": "000001_10.png",
    }


def test_packing_what_was_flipped(pair):
    """Views with negative strides, which torch would refuse."""
    results = loaded(pair)
    for name in ("img1", "img2", "gt_flow", "gt_valid"):
        results[name] = results[name][:, ::-1]
    item = PackFlowInputs()(results)
    straight = Compose(PIPELINE)(dict(pair))
    assert torch.equal(item["inputs"], straight["inputs"].flip(-1))
    assert torch.equal(item["data_samples"].gt_flow, straight["data_samples"].gt_flow.flip(-1))
