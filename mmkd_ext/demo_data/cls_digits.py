"""The digits as an ImageNet-style folder, for mmpretrain's own dataset classes.

    cls_digits/{train,val,test}/<class>/<index>.png   32x32 grey
    cls_digits/meta/train_5_per_class.txt            '<class>/<index>.png <class>' lines

The meta file is the label budget of the demo's students: the first five images of every class.
"""

from __future__ import annotations

from pathlib import Path

from mmkd_ext.demo_data import digits

LABELS_PER_CLASS = 5


def write(folder: Path) -> None:
    """Write the dataset into an empty folder."""
    from PIL import Image

    source = digits.load()
    for split, indices in source.splits.items():
        for label in range(digits.NUM_CLASSES):
            (folder / split / str(label)).mkdir(parents=True)
        for index in indices:
            name = folder / split / _relative_name(source, index)
            Image.fromarray(source.images[index]).save(name, optimize=False)
    budget = source.splits["train"][: LABELS_PER_CLASS * digits.NUM_CLASSES]
    meta = folder / "meta"
    meta.mkdir()
    lines = [f"{_relative_name(source, index)} {source.labels[index]}\n" for index in budget]
    (meta / f"train_{LABELS_PER_CLASS}_per_class.txt").write_text("".join(lines), encoding="utf-8")


def _relative_name(source: digits.Digits, index: int) -> str:
    return f"{source.labels[index]}/{index:04d}.png"
