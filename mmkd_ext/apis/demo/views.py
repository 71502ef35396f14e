"""What is annotated or predicted, drawn into an image by the visualizers of mmdet and mmseg.

H, W are the sides of the image in pixels, s = ENLARGED.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image

ENLARGED = 3  # so that labels have room
MIN_SCORE = 0.3  # of boxes and masks that are drawn
FONT_SIZE = 12
LABEL_HEIGHT = 20  # pixels of the enlarged image
BACKGROUND, IGNORED = "background", 255


class Drawer:
    """Draws the samples of one dataset.

    Args:
        metainfo: The dataset's; ``classes`` and ``palette`` are used.
    """

    def __init__(self, metainfo: dict) -> None:
        self.metainfo = metainfo
        self._visualizer: Any = None  # of the first sample's kind, which is that of all

    def draw(self, sample: Any) -> tuple[np.ndarray, np.ndarray]:
        """Draw a sample as a test leaves it: its truth and its prediction, (s H, s W, 3) uint8.

        Args:
            sample: With ``img_path`` and either semantic maps or instances of both.
        """
        image = Image.open(sample.img_path).convert("RGB")
        size = (image.width * ENLARGED, image.height * ENLARGED)
        image = image.resize(size, Image.Resampling.BICUBIC)
        if "pred_sem_seg" in sample:
            image = image.convert("L").convert("RGB")  # grey leaves the classes their colours
            make, large = _map_visualizer, _large_map(sample, self.metainfo["classes"])
            options = {"with_labels": False}  # they hide what they stand on; see `legend`
        else:
            make, large = _box_visualizer, _large_instances(sample)
            options = {"pred_score_thr": MIN_SCORE}
        if self._visualizer is None:
            self._visualizer = make()
            meta = {name: self.metainfo[name] for name in ("classes", "palette")}
            self._visualizer.dataset_meta = meta
        drawn = []
        for truth in (True, False):
            self._visualizer.add_datasample(
                "demo", np.asarray(image), large, draw_gt=truth, draw_pred=not truth, **options
            )
            drawn.append(self._visualizer.get_image().copy())
        return drawn[0], drawn[1]

    def legend(self, sample: Any) -> list[tuple[str, tuple[int, int, int]]]:
        """Names and colours of the classes, where the drawing does not name them itself."""
        if "pred_sem_seg" not in sample:
            return []
        pairs = zip(self.metainfo["classes"], self.metainfo["palette"], strict=True)
        return [(name, tuple(colour)) for name, colour in pairs if name != BACKGROUND]


def _map_visualizer() -> Any:
    from mmseg.visualization import SegLocalVisualizer

    return SegLocalVisualizer(alpha=0.6)


def _box_visualizer() -> Any:
    from mmdet.visualization import DetLocalVisualizer

    class Labelled(DetLocalVisualizer):
        """Its labels large enough to read, whole percents, above the box where there is room."""

        def draw_texts(self, texts: str, positions: Any, *args: Any, **options: Any) -> Any:
            above = positions - positions.new_tensor([self.line_width, LABEL_HEIGHT])
            options["font_sizes"] = FONT_SIZE
            text = texts.partition(".")[0]
            return super().draw_texts(text, above.clamp(min=0), *args, **options)

    return Labelled(line_width=2, text_color=(255, 255, 255), alpha=0.7)


def _large_map(sample: Any, classes: tuple[str, ...]) -> Any:
    """A segmentation sample, (1, s H, s W), of which the background is not drawn."""
    large = type(sample)()
    for name in ("gt_sem_seg", "pred_sem_seg"):
        pixels = sample.get(name).data.cpu().clone()
        if BACKGROUND in classes:
            pixels[pixels == classes.index(BACKGROUND)] = IGNORED
        large.set_data({name: PixelData(data=_repeated(pixels))})
    return large


def _large_instances(sample: Any) -> Any:
    """A detection sample, boxes (n, 4) and masks (n, s H, s W) in the large image's pixels."""
    large = type(sample)()
    for name in ("gt_instances", "pred_instances"):
        found = sample.get(name).cpu()
        instances = InstanceData(bboxes=found.bboxes * ENLARGED, labels=found.labels)
        if "scores" in found:
            instances.scores = found.scores
        if "masks" in found:
            masks = found.masks
            if not isinstance(masks, torch.Tensor):  # polygons or bitmaps of mmdet
                masks = torch.from_numpy(masks.to_ndarray())
            instances.masks = _repeated(masks)
        large.set_data({name: instances})
    return large


def _repeated(pixels: torch.Tensor) -> torch.Tensor:
    """Each pixel of (..., H, W) as a square of s x s."""
    return pixels.repeat_interleave(ENLARGED, -2).repeat_interleave(ENLARGED, -1)
