"""The dataset converters: made files in, expected files out; bad input, and nothing half-written."""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from mmdet.datasets import CocoDataset
from PIL import Image

from mmkd_ext import compat
from mmkd_ext.apis.converters import split_coco, voc_to_coco
from tests.packaging.commands import ROOT, run

from .converting import fails, files_below

FOLDER = ROOT / "tools" / "dataset_converters"

# --- VOC's XML files ---------------------------------------------------------------------------

OBJECT = """<object><name>{}</name>{}<bndbox><xmin>{}</xmin><ymin>{}</ymin>
<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


def xml(objects, size=(40, 30), name="a.jpg"):
    parts = [OBJECT.format(label, extra, *box) for label, extra, box in objects]
    return (
        f"<annotation><filename>{name}</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height><depth>3</depth></size>{''.join(parts)}</annotation>"
    )


@pytest.fixture
def voc(tmp_path):
    """Three images of 40x30; `b` has no objects, `c` is named by its XML file alone."""
    (tmp_path / "images").mkdir()
    (tmp_path / "xml").mkdir()
    for name in ("a", "b", "other"):
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / f"{name}.jpg")
    objects = [
        ("cell", "", (5, 6, 15, 26)),
        ("plate", "<difficult>1</difficult>", (0, 0, 4, 4)),
        ("cell", "<difficult>0</difficult>", (30.5, 10, 50, 40)),  # beyond both edges
        ("cell", "", (7, 7, 7, 9)),  # empty
    ]
    (tmp_path / "xml" / "a.xml").write_text(xml(objects))
    (tmp_path / "xml" / "b.xml").write_text(xml([], name="b.jpg"))
    (tmp_path / "xml" / "c.xml").write_text(xml([("dust", "", (1, 1, 2, 3))], name="other.jpg"))
    return tmp_path


def convert_voc(voc, *options):
    voc_to_coco.main([str(voc / "images"), str(voc / "xml"), str(voc / "out.json"), *options])
    return json.loads((voc / "out.json").read_text())


def test_voc_to_coco(voc, capsys):
    content = convert_voc(voc)
    assert content["categories"] == [
        dict(id=1, name="cell"),
        dict(id=2, name="dust"),
        dict(id=3, name="plate"),
    ]
    names = [image["file_name"] for image in content["images"]]
    assert names == ["a.jpg", "b.jpg", "other.jpg"]
    assert all((i["width"], i["height"]) == (40, 30) for i in content["images"])
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
    assert [tuple(annotation[key] for key in keys) for annotation in content["annotations"]] == [
        (1, 1, 1, [5, 6, 10, 20], 200, 0),
        (2, 1, 3, [0, 0, 4, 4], 16, 1),
        (3, 1, 1, [30.5, 10, 9.5, 20], 190, 0),
        (4, 3, 2, [1, 1, 1, 2], 2, 0),
    ]
    printed = capsys.readouterr().out
    assert "3 images, 2 cell, 1 dust, 1 plate" in printed
    assert "cut at the edge of the image: 1 (first: a.jpg)" in printed
    assert "empty boxes left out: 1 (first: a.jpg)" in printed


def test_voc_options_and_mmdet_reads_it(voc):
    (voc / "list.txt").write_text("b.jpg\n\na 1\n")
    (voc / "classes.txt").write_text("plate\ncell\n")
    options = ["--list", str(voc / "list.txt"), "--classes", str(voc / "classes.txt")]
    content = convert_voc(voc, *options, "--one-based")
    assert [image["file_name"] for image in content["images"]] == ["b.jpg", "a.jpg"]
    boxes = [annotation["bbox"] for annotation in content["annotations"]]
    # Pixels 5 to 15 are eleven; pixel 7 alone is one wide; pixel 0 is none.
    assert boxes == [[4, 5, 11, 21], [0, 0, 4, 4], [29.5, 9, 10.5, 21], [6, 6, 1, 3]]
    dataset = CocoDataset(
        ann_file=str(voc / "out.json"),
        data_prefix=dict(img=str(voc / "images")),
        metainfo=dict(classes=("plate", "cell")),
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=[],
    )
    found = dataset.get_data_info(1)
    assert Path(found["img_path"]).is_file()
    assert [(i["bbox_label"], i["ignore_flag"]) for i in found["instances"]] == [
        (1, 0),
        (0, 1),
        (1, 0),
        (1, 0),
    ]
    assert dataset.get_data_info(0)["instances"] == []


def test_voc_classes_left_out(voc, capsys):
    content = convert_voc(voc, "--classes", "cell", "--skip-others")
    assert Counter(a["category_id"] for a in content["annotations"]) == {1: 2}
    assert "objects of other classes left out: 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("a.xml", "<annotation><object>", r"a.xml is no valid XML: no element found: line 1"),
        ("a.xml", "<html/>", "a.xml is no VOC annotation: its root is <html>"),
        ("a.xml", xml([("", "", (1, 2, 3, 4))]), "a.xml: an object has no <name>"),
        ("a.xml", xml([("cell", "", (1, "x", 3, 4))]), "<bndbox/ymin> is 'x', not a number"),
        ("a.xml", xml([], size=(41, 30)), r"a.xml says 41x30 pixels, but .*a.jpg has 40x30"),
        ("d.xml", xml([], name="d.jpg"), r"images lacks the images of 1 \(first: d.xml\)"),
        ("d.xml", xml([], name="b.jpg"), "d.xml belongs to b.jpg, as another XML file does"),
        ("../images/b.jpg", "no image", "b.jpg cannot be read: it is corrupt, or no image"),
    ],
)
def test_bad_voc_files(voc, file, text, words, capsys):
    (voc / "xml" / file).write_text(text)
    line = (voc / "images", voc / "xml", voc / "out.json")
    assert re.search(words, fails(voc_to_coco.main, *line, capsys=capsys))
    assert not list(voc.glob("*out.json*"))


def test_bad_voc_arguments(voc, capsys):
    line = (voc / "images", voc / "xml", voc / "out.json")

    def said(*options, line=line):
        return fails(voc_to_coco.main, *line, *options, capsys=capsys)

    printed = said("--classes", "cell", "plate")
    assert "1 objects are of no class of cell, plate: 1 are 'dust' (first: other.jpg)" in printed
    assert "each class once" in said("--classes", "cell", "cell")
    assert "--skip-others needs --classes" in said("--skip-others")
    (voc / "list.txt").write_text("a\nz\ny\n")
    assert "xml lacks the XML files of 2 (first: z, y)" in said("--list", voc / "list.txt")
    (voc / "list.txt").write_text("a\na.jpg\n")
    assert "names a 2 times" in said("--list", voc / "list.txt")
    (voc / "list.txt").write_text("\n")
    assert "list.txt is empty" in said("--list", voc / "list.txt")
    assert "No such file or directory" in said("--list", voc / "none.txt")
    (voc / "empty").mkdir()
    assert "There is no .xml file in" in said(line=(line[0], voc / "empty", line[2]))
    assert "There is no image in" in said(line=(voc / "empty", *line[1:]))
    assert "none does not exist" in said(line=(voc / "none", *line[1:]))
    assert not line[2].exists()
    line[2].write_text("mine")
    assert "exists already; --force writes over it" in said()
    assert line[2].read_text() == "mine"
    voc_to_coco.main([*map(str, line), "--force"])
    assert json.loads(line[2].read_text())["images"]


# --- Splitting COCO files ----------------------------------------------------------------------


def coco(images=20):
    """A file of which image `i` has `i % 3` annotations."""
    annotations = [dict(image_id=i, category_id=7, bbox=[0, 0, 1, 1]) for i in range(images)]
    annotations = [a for a in annotations for _ in range(a["image_id"] % 3)]
    return dict(
        info=dict(year=2026),
        images=[dict(id=i, file_name=f"{i:03d}.jpg", width=8, height=8) for i in range(images)],
        annotations=[dict(a, id=i) for i, a in enumerate(annotations, start=1)],
        categories=[dict(id=7, name="cell")],
    )


def split(folder, content, *options):
    source = folder / "all.json"
    source.write_text(json.dumps(content))
    split_coco.main([str(source), *options])
    return [json.loads((folder / f"all_{n}.json").read_text()) for n in ("fit", "holdout")]


def held_out(part):
    return {image["file_name"] for image in part["images"]}


def test_split_coco(tmp_path, capsys):
    content = coco()
    fit, holdout = split(tmp_path, content)
    assert (len(fit["images"]), len(holdout["images"])) == (17, 3)  # 15 % of 20
    assert not held_out(fit) & held_out(holdout)
    for part in (fit, holdout):
        expected = [image for image in content["images"] if image in part["images"]]
        assert part["images"] == expected  # in the order of the file
        ids = {image["id"] for image in part["images"]}
        assert part["annotations"] == [a for a in content["annotations"] if a["image_id"] in ids]
        assert (part["info"], part["categories"]) == (content["info"], content["categories"])
    assert "all_fit.json: 17 images" in capsys.readouterr().out
    # The three least of sha256(b'0:NNN.jpg'); for ever the same, to repeat an experiment with it.
    assert held_out(holdout) == {"011.jpg", "014.jpg", "019.jpg"}


def test_split_coco_by_name_and_seed_alone(tmp_path):
    content = coco()
    _, first = split(tmp_path, content)
    content["images"].reverse()
    _, reordered = split(tmp_path, content, "--force")
    assert held_out(reordered) == held_out(first)
    _, other = split(tmp_path, content, "--seed", "1", "--force")
    assert held_out(other) != held_out(first)
    _, half = split(tmp_path, content, "--val-fraction", "0.5", "--force")
    assert len(half["images"]) == 10
    assert held_out(half) > held_out(first)


def test_split_coco_writes_over_nothing(tmp_path, capsys):
    split(tmp_path, coco())
    source, val = tmp_path / "all.json", tmp_path / "all_holdout.json"
    before = val.read_bytes()
    (tmp_path / "all_fit.json").unlink()
    assert "all_holdout.json exists already" in fails(split_coco.main, source, capsys=capsys)
    assert not (tmp_path / "all_fit.json").exists()
    assert val.read_bytes() == before

    def said(*out):
        return fails(split_coco.main, source, "--force", "--out", *out, capsys=capsys)

    assert "all.json is the input" in said(source, val)
    assert "are the same file" in said(val, val)
    assert "is a folder; name a file" in said(val, tmp_path)
    split_coco.main([str(source), "--out", str(tmp_path / "new" / "a"), str(tmp_path / "b")])
    assert files_below(tmp_path) == ["all.json", "all_holdout.json", "b", "new", "new/a"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: json.dumps(c)[:-9], "is no valid JSON: "),
        (lambda c: "[]", "is no COCO annotation file: it needs lists of images, annotations"),
        (lambda c: c.pop("categories") and c, "is no COCO annotation file"),
        (lambda c: c["images"][4].pop("file_name") and c, r"images\[4\] lacks id or file_name"),
        (lambda c: c["images"].pop() and c, r"2 annotations have a image_id .* \(first: 5\)"),
        (lambda c: c["images"].append(c["images"][0]) or c, "more than one image of id 0"),
        (lambda c: c["images"][1].update(file_name="000.jpg") or c, "of file_name '000.jpg'"),
        (lambda c: c["categories"][0].update(id=1) or c, "have a category_id .* its categories"),
        (lambda c: c.update(images=[]) or c, "has no images"),
        (lambda c: coco(3), "0.15 of 3 images are 0: one of the parts would be empty"),
    ],
)
def test_bad_coco_files(change, words, tmp_path, capsys):
    content = change(coco(6))
    source = tmp_path / "all.json"
    source.write_text(content if isinstance(content, str) else json.dumps(content))
    assert re.search(words, fails(split_coco.main, source, capsys=capsys))
    assert files_below(tmp_path) == ["all.json"]


def test_bad_split_arguments(tmp_path, capsys):
    assert "No such file" in fails(split_coco.main, tmp_path / "none.json", capsys=capsys)
    printed = fails(split_coco.main, "a.json", "--val-fraction", "1", capsys=capsys)
    assert "must be between 0 and 1" in printed


# --- As commands -------------------------------------------------------------------------------


def test_the_scripts_run(voc, tmp_path):
    script = FOLDER / "voc_to_coco.py"
    run(sys.executable, script, "images", "xml", "out.json", cwd=tmp_path)
    script = FOLDER / "split_coco.py"
    printed = run(sys.executable, script, "out.json", "--val-fraction", "0.4", cwd=tmp_path)
    assert "out_holdout.json: 1 images" in printed


def test_they_write_without_the_seconds_that_torch_takes(tmp_path):
    code = (
        "import sys; from pathlib import Path; "
        "from mmkd_ext.apis.converters import color_labels, split_coco, voc_to_coco; "
        "split_coco.write_files({Path('a/b.txt'): 'é'}); print('torch' in sys.modules)"
    )
    assert run(sys.executable, "-c", code, cwd=tmp_path) == "False\n"
    assert files_below(tmp_path) == ["a", "a/b.txt"]
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "é"


def test_the_table_names_what_exists():
    text = (FOLDER / "README.md").read_text()
    assert {path.stem for path in FOLDER.glob("*.py")} == set(
        re.findall(r"^## (\w+_\w+)$", text, re.M)
    )
    modules = {compat.mim_name(name): name for name in ("mmdet", "mmseg", "mmpretrain")}
    payloads = {"mmkd_ext": ROOT} | {
        name: compat.package_configs(module).parent
        for dist, module in modules.items()
        for name in (dist, module)
    }
    commands = re.findall(r"`mim run (\S+) (\w+)", text)
    assert len(commands) >= 10
    for package, tool in commands:
        assert list((payloads[package] / "tools").rglob(f"{tool}.py")), (package, tool)
    datasets = re.findall(r"`mim download (\S+) --dataset ([a-z]\w*)`", text)
    assert len(datasets) >= 4
    for package, name in datasets:
        index = yaml.safe_load((payloads[package] / "dataset-index.yml").read_text())
        assert name in index, (package, name)
