"""What the demo knows of each task: its configs, its metrics, and how its answers are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

TEACHER, BASELINE, DISTILLED = "teacher", "baseline", "distill"  # the configs' roles
FOLDER = "mmkd_ext::demo"  # of the configs


@dataclass(frozen=True)
class Metric:
    """A figure of merit, shown in percent.

    Attributes:
        key: In what the Runner's evaluation returns.
        name: In the demo's results.json.
        title: For readers.
        factor: Makes percent of what the evaluation returns.
        absent: What it is, in percent, where the evaluation leaves it out; None: it never does.
        about: A sentence on the figures of it.
        quantity: What it is a figure of, where that has a word of its own.
    """

    key: str
    name: str
    title: str
    factor: float = 1.0
    absent: float | None = None
    about: str = ""
    quantity: str = ""

    @property
    def heading(self) -> str:
        """Of a figure that shows it."""
        return self.quantity.capitalize() or self.title

    @property
    def test_heading(self) -> str:
        """Of a figure that shows it on the test split."""
        return f"Test {self.quantity or self.title}"


@dataclass(frozen=True)
class Task:
    """One demo.

    Attributes:
        name: What ``--task`` calls it.
        stem: Of its configs ``<stem>_{teacher,baseline,distill}.py``.
        library: Whose models it trains.
        data: Form of the demo data.
        title: Heading of the report.
        metrics: The first one decides; the others stand beside it.
        pictures: Module of this package that takes down a test's answers and draws them.
        own_loss: What the student's own loss is, with its unit.
        about_data: What the images are, a noun phrase.
        plain_side: Side in pixels of an image, where the network runs on an image alone; None: it
            also needs data samples.
        few_labels_epochs: Of a teacher that sees the students' few labels; None: there is no such.
    """

    name: str
    stem: str
    library: str
    data: str
    title: str
    metrics: tuple[Metric, ...]
    pictures: str
    own_loss: str
    about_data: str
    plain_side: int | None = None
    few_labels_epochs: int | None = None

    @property
    def metric(self) -> Metric:
        """The one that decides."""
        return self.metrics[0]

    @property
    def picture_module(self) -> ModuleType:
        """What ``pictures`` names; imported only now, since it needs torch and matplotlib."""
        return import_module(f"mmkd_ext.apis.demo.{self.pictures}")

    def config(self, role: str) -> str:
        """Name of the teacher's, baseline's or distillation config."""
        return f"{FOLDER}/{self.stem}_{role}.py"

    def scores(self, results: Mapping[str, float]) -> dict[str, float]:
        """What an evaluation returned, as metric name -> percent.

        Raises:
            KeyError: A metric is not there.
        """
        scores = {}
        for metric in self.metrics:
            if metric.key in results:
                value = float(results[metric.key])
                if metric.factor != 1:  # 100 * 0.567 is 56.699999999999996
                    value = round(value * metric.factor, 6)
            elif metric.absent is not None:
                value = metric.absent
            else:
                raise KeyError(f"no {metric.key!r} among the metrics {', '.join(results)}")
            scores[metric.name] = value
        return scores


_SCENES = (
    "scenes of scikit-learn's handwritten digits (real scans) on textured backgrounds, 128x128; "
    "the splits show different scans"
)
_COCO = "mAP: COCO's mean over IoU thresholds from 0.5 to 0.95, on the test split."
# mmdet's CocoMetric returns nothing at all where nothing was detected.
_BOX_MAP = Metric("coco/bbox_mAP", "bbox_mAP", "box mAP", 100.0, absent=0.0, about=f"Box {_COCO}")
_MASK_MAP = Metric(
    "coco/segm_mAP", "segm_mAP", "mask mAP", 100.0, absent=0.0, about=f"Mask {_COCO}"
)

TASKS = {
    task.name: task
    for task in (
        Task(
            name="cls",
            stem="cls_digits",
            library="mmpretrain",
            data="cls_digits",
            title="Handwritten digits, with and without a teacher",
            metrics=(
                Metric(
                    "accuracy/top1",
                    "top1",
                    "top-1",
                    about="Top-1: on the test split.",
                    quantity="accuracy",
                ),
            ),
            pictures="answers",
            own_loss="cross-entropy with the labels (nats)",
            about_data="scikit-learn's handwritten digits (1797 real scans), enlarged to 32x32",
            plain_side=32,
            # With the students' few images an epoch of the teacher is as short as theirs.
            few_labels_epochs=150,
        ),
        Task(
            name="det",
            stem="det_digits",
            library="mmdet",
            data="det_digits",
            title="Detecting handwritten digits, with and without a teacher",
            metrics=(_BOX_MAP,),
            pictures="sheet",
            own_loss="the detector's own losses, summed",
            about_data=_SCENES,
        ),
        Task(
            name="insseg",
            stem="insseg_digits",
            library="mmdet",
            data="det_digits",
            title="Segmenting each handwritten digit, with and without a teacher",
            metrics=(_MASK_MAP, _BOX_MAP),
            pictures="sheet",
            own_loss="the network's own losses, summed",
            about_data=f"{_SCENES} (the MACs of a network with two stages vary with its proposals)",
        ),
        Task(
            name="semseg",
            stem="semseg_digits",
            library="mmseg",
            data="seg_digits",
            title="Classifying each pixel of digit scenes, with and without a teacher",
            metrics=(
                Metric(
                    "mIoU",
                    "mIoU",
                    "mIoU",
                    about="mIoU: the mean over the background and ten digits, on the test split.",
                ),
            ),
            pictures="sheet",
            own_loss="the segmentor's own losses, summed",
            about_data=_SCENES,
        ),
    )
}
DENSE = ("det", "insseg", "semseg")
