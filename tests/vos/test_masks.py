"""Masks are read as ids, whatever the colours; what is no mask is refused with the reason."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmkd_ext.vos import masks
from mmkd_ext.vos.masks import read_binary_mask, read_mask, write_mask
from tests.logs import logged


def test_the_palette_is_that_of_davis():
    palette = masks.davis_palette()
    assert len(palette) == 256
    assert palette[:5] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    # As PASCAL VOC publishes them for its classes person, tv monitor and void.
    assert (palette[15], palette[20], palette[255]) == (
        (192, 128, 128),
        (0, 64, 128),
        (224, 224, 192),
    )


def test_all_ids_come_back_and_the_palette_with_them(tmp_path):
    ids = np.kron(np.arange(256, dtype=np.uint8).reshape(16, 16), np.ones((8, 8), np.uint8))
    write_mask(tmp_path / "new" / "a.png", ids)
    np.testing.assert_array_equal(read_mask(tmp_path / "new" / "a.png"), ids)
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.mode == "P"
        assert image.size == (128, 128)
    assert masks.read_palette(tmp_path / "new" / "a.png") == masks.davis_palette()
    write_mask(tmp_path / "b.png", ids, masks.YOUTUBE_VOS_PALETTE)
    assert masks.read_palette(tmp_path / "b.png")[:11] == masks.YOUTUBE_VOS_PALETTE
    np.testing.assert_array_equal(read_mask(tmp_path / "b.png"), ids)
    with pytest.raises(ValueError, match=r"\(H, W\) uint8, not \(128, 128\) int64"):
        write_mask(tmp_path / "c.png", ids.astype(int))


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_the_three_kinds_of_index_images(tmp_path, mode):
    ids = np.zeros((20, 30), np.uint8)
    ids[5:9, 6:20] = 1
    if mode == "P":
        write_mask(tmp_path / "m.png", ids, [(9, 9, 9), (9, 9, 9)])  # colours say nothing
    else:
        image = Image.fromarray(ids * (255 if mode == "1" else 1)).convert(mode)
        image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), ids)
    assert (masks.read_palette(tmp_path / "m.png") is None) == (mode != "P")


def soft_disk(levels: int = 255) -> np.ndarray:
    """A disk with soft edges, as a paint program draws it."""
    large = Image.new("L", (400, 400))
    ImageDraw.Draw(large).ellipse((80, 80, 320, 320), fill=levels)
    return np.array(large.resize((50, 50), Image.Resampling.BILINEAR))


def few_levels() -> np.ndarray:
    """A square enlarged with soft edges: only five levels between black and white."""
    small = np.zeros((8, 8), np.uint8)
    small[2:6, 2:6] = 255
    return np.array(Image.fromarray(small).resize((16, 16), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Image.new("RGB", (8, 8), (128, 0, 0)), "mode RGB is no mask of ids"),
        (Image.new("RGBA", (8, 8)), "mode RGBA is no mask of ids"),
        (Image.new("LA", (8, 8)), "mode LA is no mask of ids"),
        (Image.fromarray(np.full((8, 8), 700, np.uint16)), "mode I;16.* is no mask of ids"),
        (Image.fromarray(soft_disk()), "soft edges.*Threshold it"),
        (Image.fromarray(few_levels()), "soft edges: 7 grey levels"),
        (Image.fromarray(soft_disk(60)), "soft edges"),
    ],
)
def test_what_is_no_mask_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "00000.png"
    content.save(path)
    with pytest.raises(ValueError, match=rf"00000\.png.*{message}"):
        read_mask(path)


def test_lossy_files_and_other_files_are_refused(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(ValueError, match=r"a\.png: a JPEG is no mask of ids"):
        read_mask(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("text")
    with pytest.raises(ValueError, match=r"b\.png: not an image"):
        read_mask(tmp_path / "b.png")


def test_hard_masks_that_look_odd_are_accepted(tmp_path):
    many = np.kron(np.arange(36, dtype=np.uint8).reshape(6, 6), np.ones((4, 4), np.uint8))
    void = np.zeros((20, 20), np.uint8)
    void[2:8, 2:8], void[10:16, 10:16] = 3, 9
    void[8, :] = 255
    thin = np.zeros((20, 20), np.uint8)
    thin[3, :], thin[:, 5] = 1, 2
    void_and_a_dot = void.copy()
    void_and_a_dot[0, 0] = 4  # one object out of three without a filled square
    for number, ids in enumerate((many, void, thin, void_and_a_dot, np.zeros_like(thin))):
        write_mask(tmp_path / f"{number}.png", ids)
        np.testing.assert_array_equal(read_mask(tmp_path / f"{number}.png"), ids)


def test_a_mask_one_pixel_off_is_fitted_with_one_warning(tmp_path):
    ids = np.zeros((48, 85), np.uint8)
    ids[10:20, 30:50] = 2
    for name in ("00005", "00006"):
        write_mask(tmp_path / "judo" / f"{name}.png", ids)
    with logged() as lines:
        fitted = [read_mask(tmp_path / "judo" / f"{n}.png", (48, 86)) for n in ("00005", "00006")]
    assert [mask.shape for mask in fitted] == [(48, 86)] * 2
    assert np.unique(fitted[0]).tolist() == [0, 2]
    assert abs(int((fitted[0] == 2).sum()) - 200) <= 10
    assert ["the mask is 85x48, its frame 86x48" in line for line in lines] == [True]
    with pytest.raises(ValueError, match="the mask is 85x48, its frame 88x48"):
        read_mask(tmp_path / "judo" / "00005.png", (48, 88))


def test_soft_edges_are_fine_where_one_object_is_asked_for(tmp_path):
    disk = soft_disk()
    Image.fromarray(disk).save(tmp_path / "soft.png")
    np.testing.assert_array_equal(read_binary_mask(tmp_path / "soft.png"), disk > 127)
    write_mask(tmp_path / "index.png", (disk > 127).astype(np.uint8))
    np.testing.assert_array_equal(read_binary_mask(tmp_path / "index.png"), disk > 127)


def test_ids_of_a_mask():
    mask = np.asarray([[0, 3, 255], [7, 3, 0]], np.uint8)
    assert masks.object_ids(mask) == [3, 7]
    assert masks.keep_ids(mask, [7]).tolist() == [[0, 0, 0], [7, 0, 0]]
    assert masks.merge_objects(mask).tolist() == [[0, 1, 1], [1, 1, 0]]
