"""Flow files: bytes written by hand, files there and back, what is damaged."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from mmkd_ext.flow import read_flow, write_flow

FLOW = np.array(
    [[[1.5, -2.25], [0, 0], [-300, 511.984375]], [[0.015625, 1], [7, 8], [-512, 3]]], np.float32
)  # two rows of three, in steps of 1/64
VALID = np.array([[True, False, True], [True, True, True]])


def test_flo_as_middlebury_defines_it(tmp_path):
    path = tmp_path / "a.flo"
    path.write_bytes(
        struct.pack("<fii", 202021.25, 3, 2) + struct.pack("<12f", *FLOW.flatten().tolist())
    )
    flow, valid = read_flow(path)
    assert (flow.dtype, flow.shape, valid.dtype) == (np.float32, (2, 3, 2), bool)
    assert np.array_equal(flow, FLOW)
    assert valid.all()
    assert np.array_equal(cv2.readOpticalFlow(str(path)), FLOW)
    write_flow(tmp_path / "b.flo", FLOW)
    assert (tmp_path / "b.flo").read_bytes() == path.read_bytes()


def test_unknown_vectors_of_flo(tmp_path):
    raw = FLOW.copy()
    raw[0, 1], raw[1, 0, 1], raw[1, 2, 0] = 1.6666668e9, np.nan, -2e9
    (tmp_path / "a.flo").write_bytes(struct.pack("<4sii", b"PIEH", 3, 2) + raw.tobytes())
    flow, valid = read_flow(tmp_path / "a.flo")
    assert valid.tolist() == [[True, False, True], [False, True, False]]
    assert np.array_equal(flow[~valid], np.zeros((3, 2)))
    write_flow(tmp_path / "b.flo", raw, valid)
    raw = np.fromfile(tmp_path / "b.flo", "<f4", offset=12).reshape(2, 3, 2)
    assert (raw[~valid] > 1e9).all()
    assert np.array_equal(read_flow(tmp_path / "b.flo")[1], valid)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pfm_has_its_rows_from_below(tmp_path, order):
    path = tmp_path / "a.pfm"
    rows = [(*FLOW[y, x].tolist(), 9.0) for y in (1, 0) for x in range(3)]
    scale = b"-1.0" if order == "<" else b"1"
    body = b"".join(struct.pack(f"{order}3f", *row) for row in rows)
    path.write_bytes(b"PF\n3 2\n" + scale + b"\n" + body)
    flow, valid = read_flow(path)
    assert np.array_equal(flow, FLOW)
    assert valid.all()
    write_flow(tmp_path / "b.pfm", FLOW)
    assert np.array_equal(read_flow(tmp_path / "b.pfm")[0], FLOW)
    theirs = cv2.imread(str(tmp_path / "b.pfm"), cv2.IMREAD_UNCHANGED)  # B, G, R
    assert np.array_equal(theirs[:, :, :0:-1], FLOW)


def test_kittis_png(tmp_path):
    path = tmp_path / "a.png"
    image = np.zeros((2, 3, 3), np.uint16)
    image[..., 2], image[..., 1] = FLOW[..., 0] * 64 + 2**15, FLOW[..., 1] * 64 + 2**15
    image[..., 0] = VALID
    cv2.imwrite(str(path), image)
    flow, valid = read_flow(path)
    assert np.array_equal(flow[valid], FLOW[valid])
    assert np.array_equal(valid, VALID)
    assert np.array_equal(flow[~valid], np.zeros((1, 2)))
    write_flow(tmp_path / "b.png", FLOW, VALID)
    written = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(written[VALID], image[VALID])
    assert written[~VALID].tolist() == [[0, 2**15, 2**15]]


def test_a_png_rounds_and_clips(tmp_path):
    flow = np.array([[[0.009, -0.009], [600, -600]]])
    write_flow(tmp_path / "a.png", flow)
    found, valid = read_flow(tmp_path / "a.png")
    assert valid.all()
    assert found.tolist() == [[[1 / 64, -1 / 64], [512 - 1 / 64, -512]]]


def damaged(path, how):
    write_flow(path, FLOW)
    content = path.read_bytes()
    path.write_bytes(how(content))


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("a.flo", lambda c: c[:-1], r"make 60 bytes, but the file has 59; it is cut off"),
        ("a.flo", lambda c: b"JUNK" + c[4:], "does not begin with PIEH"),
        ("a.flo", lambda c: c[:4] + struct.pack("<ii", -3, 2) + c[12:], "-3 x 2 pixels"),
        ("a.flo", lambda c: b"", "not a .flo file"),
        ("a.pfm", lambda c: c[:-1], "make 72 bytes, but 71 follow the header"),
        ("a.pfm", lambda c: b"P6" + c[2:], "not a PFM file"),
        ("a.pfm", lambda c: b"Pf" + c[2:], "one channel"),
        ("a.png", lambda c: c[:40], "OpenCV cannot read this PNG"),
    ],
)
def test_damaged_files(tmp_path, name, how, message):
    damaged(tmp_path / name, how)
    with pytest.raises(ValueError, match=message) as raised:
        read_flow(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)


def test_files_of_another_kind(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"three channels of 16 bits .* is \(4, 4\) uint8"):
        read_flow(tmp_path / "grey.png")
    with pytest.raises(ValueError, match="there is no such flow file"):
        read_flow(tmp_path / "none.flo")
    (tmp_path / "flow.npy").touch()
    with pytest.raises(ValueError, match="a flow file ends in "):
        read_flow(tmp_path / "flow.npy")


@pytest.mark.parametrize(
    ("name", "flow", "valid", "message"),
    [
        ("a.flo", FLOW[..., :1], None, r"flow is \(H, W, 2\), not \(2, 3, 1\)"),
        ("a.flo", FLOW, VALID[:1], r"valid is \(1, 3\), but the flow \(2, 3, 2\)"),
        ("a.png", FLOW * np.nan, None, "NaN or infinity where it is said to be known"),
        ("a.pfm", FLOW, VALID, "a PFM cannot say where flow is not known"),
        ("a.txt", FLOW, None, "a flow file ends in"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, flow, valid, message):
    with pytest.raises(ValueError, match=message):
        write_flow(tmp_path / name, flow, valid)
    assert not any(tmp_path.iterdir())
