"""Videos as folders of frames and masks; the base of all video datasets.

One item of the dataset is one video. While training, an index is a video's number, and the pipeline
draws a clip from it. In test mode an index is a pair (video, frame), which
:class:`mmkd_ext.vos.samplers.VideoFrameSampler` hands out in order, and the item is that frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mmengine.dataset import BaseDataset

from mmkd_ext.frames.files import frame_files, natural
from mmkd_ext.frames.video_file import VIDEO_SUFFIXES, count_frames
from mmkd_ext.registry import DATASETS
from mmkd_ext.vos.masks import VOID, merge_objects, object_ids, read_mask, read_palette

CLIP_ATTEMPTS = 5  # to draw a clip with an object in its first frame, as the reference does
EVERYTHING = "all"  # that whole mask is given, whatever ids it holds


@DATASETS.register_module()
class VOSVideoDataset(BaseDataset):
    """Any folder of videos that is laid out as DAVIS is.

    ::

        <img_path>/<video>/<frame>.jpg     or     <img_path>/<video>.mp4 (test mode only)
        <mask_path>/<video>/<frame>.png    masks of ids; of some frames or all

    In test mode the frames before the first given mask are dropped: there is nothing to track.

    Args:
        ann_file: Text file with a video's name a line; '' for all videos there are.
        data_prefix: ``img_path`` and ``mask_path``, relative to ``data_root``.
        single_object: All objects of a mask are one, id 1 (DAVIS 2016).
        given: Which masks a model gets when tested. ``'first'``: the first there is. ``'new'``: of
            each object the first mask that shows it. Every mask is then read once, at the start.
        ground_truth: Whether masks, where there are any, are complete, to be compared with.
        binary: The masks' object is 255, not void. None: decided for each video by its first mask.
        min_frames: Shorter videos are left out while training.
        **kwargs: Of mmengine's ``BaseDataset``: ``data_root``, ``pipeline``, ``test_mode``, ...

    Raises:
        ValueError: A listed video has no frames, or no mask; or nothing is left.
    """

    METAINFO = dict(palette=None)

    def __init__(
        self,
        ann_file: str = "",
        *,
        data_prefix: dict | None = None,
        single_object: bool = False,
        given: Literal["first", "new"] = "new",
        ground_truth: bool = True,
        binary: bool | None = None,
        min_frames: int = 3,
        **kwargs: Any,
    ) -> None:
        if given not in ("first", "new"):
            raise ValueError(f"{type(self).__name__}: given is 'first' or 'new', not {given!r}")
        self.single_object = single_object
        self.given = given
        self.ground_truth = ground_truth
        self.binary = binary
        self.min_frames = min_frames
        prefix = data_prefix or dict(img_path="JPEGImages", mask_path="Annotations")
        super().__init__(ann_file, data_prefix=prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The videos, by the order of the list or by name."""
        videos = [self.parse_video(name) for name in self.video_names()]
        if not self.test_mode:
            videos = [video for video in videos if len(video["frames"]) >= self.min_frames]
        if not videos:
            raise ValueError(
                f"{type(self).__name__}: no video to use in {self.data_prefix['img_path']}"
                + ("" if self.test_mode else f" (of {self.min_frames} frames with masks or more)")
            )
        if self._metainfo.get("palette") is None:
            files = (path for video in videos for path in video["masks"].values())
            self._metainfo["palette"] = next((read_palette(path) for path in files), None)
        return videos

    def video_names(self) -> list[str]:
        """The names of the videos of this split."""
        if self.ann_file:
            return read_list(self.ann_file)
        folder = _existing(self.data_prefix["img_path"])
        entries = (path for path in folder.iterdir() if not path.name.startswith("."))
        return sorted(
            {
                path.stem if path.is_file() else path.name
                for path in entries
                if path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES
            },
            key=natural,
        )

    def parse_video(self, name: str) -> dict:
        """What is known of a video before any frame is read.

        Returns:
            ``video`` (name), ``frames`` (names of those that are used), ``images`` (path of each)
            or ``video_file`` and ``numbers`` (place of each in it), ``masks`` (frame's name ->
            path), ``merge`` (all that is not 0 is object 1); in test mode also ``given`` (index ->
            ids or 'all').
        """
        video = {"video": name, **self.find_frames(name)}
        folder = Path(self.data_prefix["mask_path"]) / name
        names = set(video["frames"])
        files = mask_files(folder)
        video["masks"] = {path.stem: str(path) for path in files if path.stem in names}
        if not video["masks"]:
            raise ValueError(
                f"{type(self).__name__}: no mask of video {name!r}: there is no "
                f"{folder}/<frame>.png whose name is that of a frame ({video['frames'][0]} ... "
                f"{video['frames'][-1]})"
            )
        binary = self._is_binary(video) if self.binary is None else self.binary
        video["merge"] = self.single_object or binary
        if not self.test_mode:
            return select_frames(video, [frame in video["masks"] for frame in video["frames"]])
        given = self.find_given(video)
        start = min(given)
        video = select_frames(video, [i >= start for i in range(len(video["frames"]))])
        video["given"] = {index - start: ids for index, ids in given.items()}
        return video

    def find_frames(self, name: str) -> dict:
        """Names and places of a video's frames."""
        folder = Path(self.data_prefix["img_path"]) / name
        if folder.is_dir():
            files = frame_files(folder)
            if files:
                frames = [path.stem for path in files]
                return {"frames": frames, "images": [str(path) for path in files]}
        for suffix in VIDEO_SUFFIXES:
            file = folder.with_name(name + suffix)
            if file.is_file():
                return self._frames_of_file(file)
        raise ValueError(
            f"{type(self).__name__}: video {name!r} has no frames: neither images in {folder} nor "
            f"a file {folder}.mp4 (or {', '.join(VIDEO_SUFFIXES[1:])})"
        )

    def find_given(self, video: dict) -> dict[int, Any]:
        """Which ids are given at which frame of a video."""
        indices = [i for i, frame in enumerate(video["frames"]) if frame in video["masks"]]
        if self.given == "first":
            return {indices[0]: EVERYTHING}
        seen: set[int] = set()
        given = {}
        for index in indices:
            mask = read_mask(video["masks"][video["frames"][index]])
            ids = object_ids(merge_objects(mask) if video["merge"] else mask)
            new = [i for i in ids if i not in seen]
            if new:
                given[index] = new
                seen.update(new)
        if not given:
            raise ValueError(
                f"{type(self).__name__}: the masks of video {video['video']!r} are empty"
            )
        return given

    @property
    def frame_counts(self) -> list[int]:
        """How many frames each video has, in the dataset's order."""
        return [len(self.get_data_info(index)["frames"]) for index in range(len(self))]

    def prepare_data(self, idx: Any) -> Any:
        """A training clip of video ``idx``, or the frame ``idx = (video, frame)`` in test mode.

        Raises:
            ValueError: The index of a test item is no such pair.
        """
        if not self.test_mode:
            return self._clip(idx)
        if not isinstance(idx, tuple):
            raise ValueError(
                f"{type(self).__name__}: in test mode an index is (video, frame), but got {idx!r}. "
                "Use sampler=dict(type='mmkd_ext.VideoFrameSampler') and batch_size=1."
            )
        return self.pipeline(self.frame_info(*idx))

    def frame_info(self, video: int, index: int) -> dict:
        """What the pipeline needs to load one frame of a video."""
        info = self.get_data_info(video)
        frames = info["frames"]
        frame = frames[index]
        found = {key: info[key] for key in ("video", "merge", "categories") if key in info}
        if "images" in info:
            found["img_path"] = info["images"][index]
        else:
            found["video_file"], found["number"] = info["video_file"], info["numbers"][index]
        return found | {
            "frame": frame,
            "index": index,
            "num_frames": len(frames),
            "is_first": index == 0,
            "is_last": index == len(frames) - 1,
            "save": "saved" not in info or frame in info["saved"],
            "mask_path": info["masks"].get(frame),
            "given": info["given"].get(index),
            "ground_truth": self.ground_truth,
        }

    def _clip(self, idx: int) -> Any:
        for _ in range(CLIP_ATTEMPTS):
            item = self.pipeline(self.get_data_info(idx))
            if item is not None:
                return item
        return None  # mmengine then draws another video

    def _frames_of_file(self, file: Path) -> dict:
        if not self.test_mode:
            raise ValueError(
                f"{file}: video files can only be tested (test_mode=True); clips for training are "
                "drawn from image folders. Extract the frames: ffmpeg -i FILE FOLDER/%05d.jpg"
            )
        count = count_frames(file)
        names = [f"{number:05d}" for number in range(count)]
        return {"frames": names, "video_file": str(file), "numbers": list(range(count))}

    def _is_binary(self, video: dict) -> bool:
        mask = read_mask(next(iter(video["masks"].values())))
        return bool((mask == VOID).any()) and not object_ids(mask)


def select_frames(video: dict, wanted: Sequence[bool]) -> dict:
    """A video with some of its frames only."""
    selected = dict(video)
    for key in ("frames", "images", "numbers"):
        if key in video:
            selected[key] = [x for x, keep in zip(video[key], wanted, strict=True) if keep]
    names = set(selected["frames"])
    selected["masks"] = {name: path for name, path in video["masks"].items() if name in names}
    return selected


def read_list(path: str | Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        ValueError: There is no such file.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such list of videos")
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


def mask_files(folder: Path) -> list[Path]:
    """The PNGs of a folder by name, none if there is no folder; hidden files are none."""
    files = folder.glob("*.png") if folder.is_dir() else ()
    return sorted(path for path in files if not path.name.startswith("."))


def _existing(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise ValueError(f"{folder}: there is no such folder of videos")
    return Path(folder)
