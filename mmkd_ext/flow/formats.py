"""Files of optical flow: Middlebury's .flo, PFM as FlyingThings3D has it, KITTI's 16-bit PNG.

Shapes: H, W pixels. Flow is (H, W, 2) float32 in pixels, u to the right, then v downwards.
"""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

import cv2
import numpy as np

from mmkd_ext.atomic_file import replacing

FLO_MAGIC = b"PIEH"  # 202021.25 as a little-endian float32
UNKNOWN = 1e9  # a larger component says that the vector is not known (Middlebury)
WRITTEN_UNKNOWN = np.float32(1.666666752e9)  # what Middlebury's own files hold there
PNG_ZERO, PNG_STEP = 2**15, 64  # level of no motion, levels a pixel
SUFFIXES = (".flo", ".pfm", ".png")


def read_flow(path: str | PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Read a flow file; its suffix says of which format.

    Returns:
        The flow (H, W, 2) float32, 0 where it is not known, and where it is known (H, W) bool.

    Raises:
        ValueError: There is no such file, it is damaged, or its format is unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such flow file")
    readers = {".flo": _read_flo, ".pfm": _read_pfm, ".png": _read_png}
    flow, valid = readers[_suffix(path)](path)
    return np.where(valid[..., None], flow, np.float32(0)), valid


def write_flow(path: str | PathLike, flow: np.ndarray, valid: np.ndarray | None = None) -> None:
    """Write a flow file, all or nothing; missing folders are made.

    Args:
        path: Where to; the suffix ``.flo``, ``.pfm`` or ``.png`` chooses the format. A PNG holds
            steps of 1/64 pixel from -512 to just below 512; the flow is rounded, and clipped
            there.
        flow: (H, W, 2) in pixels.
        valid: (H, W) bool, where it is known; None: everywhere. PFM cannot say it.

    Raises:
        ValueError: Wrong shapes, values that are not finite where they are known, or a format that
            cannot hold this.
    """
    path = Path(path)
    flow = np.asarray(flow, dtype=np.float32)
    if flow.ndim != 3 or flow.shape[2] != 2 or 0 in flow.shape:
        raise ValueError(f"{path}: flow is (H, W, 2), not {flow.shape}")
    valid = np.ones(flow.shape[:2], bool) if valid is None else np.asarray(valid).astype(bool)
    if valid.shape != flow.shape[:2]:
        raise ValueError(f"{path}: valid is {valid.shape}, but the flow {flow.shape}")
    if not np.isfinite(flow[valid]).all():
        raise ValueError(f"{path}: the flow holds NaN or infinity where it is said to be known")
    encoders = {".flo": _flo_bytes, ".pfm": _pfm_bytes, ".png": _png_bytes}
    content = encoders[_suffix(path)](flow, valid, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=False) as file:
        file.write(content)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: a flow file ends in {', '.join(SUFFIXES)}")
    return suffix


def _read_flo(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = path.read_bytes()
    if content[:4] != FLO_MAGIC or len(content) < 12:
        raise ValueError(f"{path}: not a .flo file; it does not begin with PIEH and a size")
    width, height = (int(n) for n in np.frombuffer(content[4:12], "<i4"))
    wanted = 12 + 8 * width * height
    if min(width, height) < 1 or len(content) != wanted:
        raise ValueError(
            f"{path}: {width} x {height} pixels (width x height) make {wanted} bytes, but the file "
            f"has {len(content)}; it is cut off or damaged"
        )
    flow = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2)
    # NaN fails the comparison, too.
    return flow.astype(np.float32), (np.abs(flow) <= UNKNOWN).all(axis=2)


def _flo_bytes(flow: np.ndarray, valid: np.ndarray, path: Path) -> bytes:
    height, width = valid.shape
    known = np.where(valid[..., None], flow, WRITTEN_UNKNOWN)
    return FLO_MAGIC + np.array([width, height], "<i4").tobytes() + known.astype("<f4").tobytes()


def _read_pfm(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = path.read_bytes()
    header = re.match(rb"(PF|Pf)\s+(\d+)\s+(\d+)\s+(-?[\d.]+(?:[eE][-+]?\d+)?)\s", content)
    if header is None:
        raise ValueError(f"{path}: not a PFM file; it does not begin with PF, a size and a scale")
    if header[1] != b"PF":
        raise ValueError(
            f"{path}: one channel (Pf) is no flow; that is a map of depth or disparity"
        )
    width, height, scale = int(header[2]), int(header[3]), float(header[4])
    body = content[header.end() :]
    if min(width, height) < 1 or len(body) != 12 * width * height:
        raise ValueError(
            f"{path}: {width} x {height} pixels (width x height) make {12 * width * height} bytes, "
            f"but {len(body)} follow the header; it is cut off or damaged"
        )
    rows = np.frombuffer(body, "<f4" if scale < 0 else ">f4").reshape(height, width, 3)
    flow = rows[::-1, :, :2].astype(np.float32)  # the bottom row comes first
    return flow, (np.abs(flow) <= UNKNOWN).all(axis=2)


def _pfm_bytes(flow: np.ndarray, valid: np.ndarray, path: Path) -> bytes:
    if not valid.all():
        raise ValueError(f"{path}: a PFM cannot say where flow is not known; write .flo or .png")
    height, width = valid.shape
    rows = np.zeros((height, width, 3), "<f4")
    rows[:, :, :2] = flow[::-1]
    return f"PF\n{width} {height}\n-1\n".encode() + rows.tobytes()


def _read_png(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"{path}: OpenCV cannot read this PNG; it is damaged")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint16:
        raise ValueError(
            f"{path}: a flow PNG has three channels of 16 bits (u, v, known), but this one is "
            f"{image.shape} {image.dtype}"
        )
    flow = (image[:, :, :0:-1].astype(np.float32) - PNG_ZERO) / PNG_STEP  # OpenCV has B, G, R
    return flow, image[:, :, 0] > 0


def _png_bytes(flow: np.ndarray, valid: np.ndarray, path: Path) -> bytes:
    known = np.where(valid[..., None], flow, 0).astype(np.float64)
    levels = np.clip(np.round(PNG_STEP * known + PNG_ZERO), 0, 2**16 - 1).astype(np.uint16)
    done, encoded = cv2.imencode(".png", np.dstack([valid.astype(np.uint16), levels[:, :, ::-1]]))
    if not done:
        raise ValueError(f"{path}: OpenCV cannot encode this flow as a PNG")
    return encoded.tobytes()
