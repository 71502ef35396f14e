"""Labels in colours to index images: made files in, expected files out; bad input."""

import re
import shutil
import sys

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from PIL import Image

from mmkd_ext.apis.converters import color_labels
from mmkd_ext.apis.converters.color_table import IGNORE, camvid_11
from tests.packaging.commands import ROOT, run

from .converting import fails, files_below

TABLE = "# a comment\n0 0 0\tVoid\n128 128 128\t\tSky\n128 0 0 Wall\n0 64 128 Wall\n1 2 3 Road\n"
LABEL = [[(0, 0, 0), (128, 128, 128), (0, 64, 128)], [(128, 0, 0), (1, 2, 3), (0, 0, 0)]]
INDEX = [[255, 0, 1], [1, 2, 255]]


@pytest.fixture
def streets(tmp_path):
    """Three images of 3x2 with labels, a table of colours and a list of two of them."""
    for folder in ("raw", "labels"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for name in ("one", "two", "0016E5.07959"):
        image = rng.integers(0, 255, (2, 3, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "raw" / f"{name}.png")
        label = Image.fromarray(np.array(LABEL, dtype=np.uint8))
        label.save(tmp_path / "labels" / f"{name}_L.png")
    (tmp_path / "colors.txt").write_text(TABLE)
    (tmp_path / "train.txt").write_text("one.png\n0016E5.07959.png labels/0016E5.07959_L.png\n")
    (tmp_path / "val.txt").write_text("two\n")
    return tmp_path


def line(streets, *options, splits=("train", "val"), lists=True):
    words = [str(streets / "out")]
    if "--colors" not in options:
        words += ["--colors", str(streets / "colors.txt")]
    for name in splits:
        words += ["--split", name, str(streets / "raw"), str(streets / "labels")]
        words += [str(streets / f"{name}.txt")] if lists else []
    return [*words, *map(str, options)]


def index_of(path):
    image = Image.open(path)
    assert image.mode == "L"
    return np.asarray(image).tolist()


def test_color_labels(streets, capsys):
    color_labels.main(line(streets))
    out = streets / "out"
    assert files_below(out) == [
        "ann_dir",
        "ann_dir/train",
        "ann_dir/train/0016E5.07959.png",
        "ann_dir/train/one.png",
        "ann_dir/val",
        "ann_dir/val/two.png",
        "classes.txt",
        "img_dir",
        "img_dir/train",
        "img_dir/train/0016E5.07959.png",
        "img_dir/train/one.png",
        "img_dir/val",
        "img_dir/val/two.png",
    ]
    assert all(index_of(path) == INDEX for path in out.glob("ann_dir/*/*.png"))
    for path in out.glob("img_dir/*/*.png"):
        assert path.read_bytes() == (streets / "raw" / path.name).read_bytes()
    assert (out / "classes.txt").read_text() == "Sky\nWall\nRoad\n"
    printed = capsys.readouterr().out
    assert "2 train, 1 val images" in printed
    assert re.search(r"Wall +33\.33 %", printed)
    assert re.search(r"\(ignored\) +33\.33 %", printed)
    init_default_scope("mmseg")
    dataset = BaseSegDataset(
        data_root=str(out),
        data_prefix=dict(img_path="img_dir/train", seg_map_path="ann_dir/train"),
        img_suffix=".png",
        metainfo=dict(classes=("Sky", "Wall", "Road"), palette=[(0, 0, 0)] * 3),
        pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")],
    )
    assert [item["gt_seg_map"].tolist() for item in dataset] == [INDEX, INDEX]


def test_palettes_grey_labels_and_csv_tables(streets):
    colors = sorted({color for row in LABEL for color in row})
    palette = Image.fromarray(
        np.array([[colors.index(c) for c in row] for row in LABEL], dtype=np.uint8), "P"
    )
    palette.putpalette([value for color in colors for value in color])
    palette.save(streets / "labels" / "one_L.png")
    grey = Image.fromarray(np.array([[0, 11, 1], [1, 0, 11]], dtype=np.uint8))
    grey.save(streets / "labels" / "two_L.png")
    (streets / "train.txt").write_text("one\n")
    table = "name,r,g,b\nSky,128,128,128\nWall,128,0,0\nWall, 0, 64, 128\nRoad,1,2,3\n"
    (streets / "colors.txt").write_text(table + "Void,0,0,0\n")
    color_labels.main(line(streets, splits=["train"]))
    assert index_of(streets / "out" / "ann_dir" / "train" / "one.png") == INDEX
    (streets / "colors.txt").write_text("0 0 0 Sky\n1 1 1 Wall\n11 11 11 Unlabelled\n")
    color_labels.main(line(streets, "--force", "--ignore", "unlabelled", splits=["val"]))
    assert index_of(streets / "out" / "ann_dir" / "val" / "two.png") == [[0, 255, 1], [1, 0, 255]]
    assert not (streets / "out" / "ann_dir" / "train").exists()  # replaced as a whole


CAMVID = """64 128 64 Animal;192 0 128 Archway;0 128 192 Bicyclist;0 128 64 Bridge;128 0 0 Building;
64 0 128 Car;64 0 192 CartLuggagePram;192 128 64 Child;192 192 128 Column_Pole;64 64 128 Fence;
128 0 192 LaneMkgsDriv;192 0 64 LaneMkgsNonDriv;128 128 64 Misc_Text;192 0 192 MotorcycleScooter;
128 64 64 OtherMoving;64 192 128 ParkingBlock;64 64 0 Pedestrian;128 64 128 Road;
128 128 192 RoadShoulder;0 0 192 Sidewalk;192 128 128 SignSymbol;128 128 128 Sky;
64 128 192 SUVPickupTruck;0 0 64 TrafficCone;0 64 64 TrafficLight;192 64 128 Train;128 128 0 Tree;
192 128 192 Truck_Bus;64 0 64 Tunnel;192 192 0 VegetationMisc;0 0 0 Void;64 192 0 Wall"""
GROUPS = {
    "Building": "Archway Bridge Building Tunnel Wall",
    "Pole": "Column_Pole TrafficCone",
    "Road": "LaneMkgsDriv LaneMkgsNonDriv Road",
    "Pavement": "ParkingBlock RoadShoulder Sidewalk",
    "Tree": "Tree VegetationMisc",
    "SignSymbol": "Misc_Text SignSymbol TrafficLight",
    "Car": "Car OtherMoving SUVPickupTruck Train Truck_Bus",
    "Pedestrian": "Animal CartLuggagePram Child Pedestrian",
    "Bicyclist": "Bicyclist MotorcycleScooter",
    "Sky": "Sky",
    "Fence": "Fence",
    None: "Void",
}


def test_camvid_has_eleven_classes_of_its_32_names():
    table = camvid_11()
    members = {}
    for entry in CAMVID.replace("\n", "").split(";"):
        *color, name = entry.split()
        index = table.indices[tuple(map(int, color))]
        group = None if index == IGNORE else table.classes[index]
        members.setdefault(group, []).append(name)
    assert {group: " ".join(sorted(names)) for group, names in members.items()} == GROUPS
    assert len(table.indices) == 32
    config = (ROOT / "configs" / "_base_" / "datasets" / "seg_camvid.py").read_text()
    namespace: dict = {}
    exec(config, namespace)
    assert table.classes == namespace["metainfo"]["classes"]
    palette = namespace["metainfo"]["palette"]
    assert [table.indices[color] for color in palette] == list(range(11))


def test_unknown_colors(streets, capsys):
    label = np.array(LABEL, dtype=np.uint8)
    label[0] = (9, 8, 7)
    for name in ("two", "one"):
        Image.fromarray(label).save(streets / "labels" / f"{name}_L.png")
    label[1, 1] = (0, 0, 1)
    Image.fromarray(label).save(streets / "labels" / "two_L.png")
    before = files_below(streets)
    printed = fails(color_labels.main, *line(streets), capsys=capsys)
    assert "2 colours, of 2 labels, are not in the table: (9, 8, 7) in 6 pixels" in printed
    assert re.search(r"\(0, 0, 1\) in 1 pixels \(first: \S+two_L.png\)", printed)
    assert files_below(streets) == before
    color_labels.main(line(streets, "--unknown", "ignore"))
    assert index_of(streets / "out" / "ann_dir" / "val" / "two.png") == [[255] * 3, [1, 255, 255]]
    assert "Ignored: 2 colours, of 2 labels" in capsys.readouterr().out


def test_bad_images_leave_nothing(streets, capsys):
    label = streets / "labels" / "two_L.png"
    whole = label.read_bytes()
    label.write_bytes(whole[:45])  # its head says the right size
    before = files_below(streets)
    assert "two_L.png cannot be read" in fails(color_labels.main, *line(streets), capsys=capsys)
    label.write_bytes(b"no image")
    assert "two_L.png cannot be read" in fails(color_labels.main, *line(streets), capsys=capsys)
    Image.new("RGB", (3, 3)).save(label)
    printed = fails(color_labels.main, *line(streets), capsys=capsys)
    assert re.search(r"two.png has 3x2 pixels, but \S+two_L.png has 3x3", printed)
    label.unlink()
    printed = fails(color_labels.main, *line(streets), capsys=capsys)
    assert "labels lacks the labels of 1 of 1 images, such as two_L.png" in printed
    assert files_below(streets) == [name for name in before if name != "labels/two_L.png"]


def test_bad_color_arguments(streets, capsys):
    def said(*options, **kinds):
        return fails(color_labels.main, *line(streets, *options, **kinds), capsys=capsys)

    assert "is in the split train and in val" in said(lists=False)
    (streets / "val.txt").write_text("two\nten\n")
    assert re.search(r"raw lacks the images of 1 \(first: ten\), as \S+val.txt names", said())
    (streets / "val.txt").write_text("two\n")
    assert "two are called train" in said(splits=["train", "train"])
    assert "takes NAME IMAGES LABELS [LIST]" in said("--split", "x", "y")
    assert "cannot be a folder's" in said("--split", "../x", "y", "z")
    assert "No such file" in said("--colors", streets / "none.txt")
    shutil.copyfile(streets / "raw" / "one.png", streets / "raw" / "three.PNG")
    shutil.copyfile(streets / "labels" / "one_L.png", streets / "labels" / "three_L.png")
    (streets / "val.txt").write_text("three\n")
    assert "The images end with .PNG and .png" in said()
    for text, words in (
        ("1 2 Sky\n", "line 1: '1 2 Sky' is neither"),
        ("0 0 0 Sky\n0 0 256 Wall\n", "line 2: '0 0 256 Wall' is neither"),
        ("0 0 0 Sky\n0 0 0 Wall\n", "line 2: the colour (0, 0, 0) stands there twice"),
        ("0 0 0 Void\n", "names 0 classes"),
        ("".join(f"{i // 200} {i % 200} 0 c{i}\n" for i in range(256)), "names 256 classes"),
    ):
        (streets / "colors.txt").write_text(text)
        assert words in said()
    assert not (streets / "out").exists()


def test_color_labels_replace_only_their_own(streets, capsys):
    color_labels.main(line(streets))
    printed = fails(color_labels.main, *line(streets), capsys=capsys)
    assert "out exists already; --force replaces it" in printed
    (streets / "out" / "notes.txt").write_text("mine")
    before = files_below(streets)
    printed = fails(color_labels.main, *line(streets, "--force"), capsys=capsys)
    assert "holds other files (notes.txt); name a new folder" in printed
    assert files_below(streets) == before


def test_the_script_runs(streets):
    script = ROOT / "tools" / "dataset_converters" / "color_labels.py"
    printed = run(sys.executable, script, *line(streets), cwd=streets)
    assert "2 train, 1 val images" in printed
    printed = run(sys.executable, script, *line(streets), cwd=streets, code=2)
    assert printed.strip().splitlines()[-1].startswith("error: ")
