"""Whole sequences in one process, pairs in order."""

import pytest
import torch.distributed as dist
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.runner import Runner
from torch.testing._internal.distributed.fake_pg import FakeStore

from mmkd_ext.flow.datasets import FlowFolderDataset, SintelDataset
from mmkd_ext.registry import DATA_SAMPLERS

from .flow_files import PIPELINE, QUICK, write_folders, write_list, write_sintel

SCENES = {"a": 3, "b": 6, "c": 2, "d": 4}  # pairs: 0-1, 2-6, 7, 8-10


def indices(dataset) -> list[int]:
    sampler = DATA_SAMPLERS.build(
        dict(type="mmkd_ext.FlowSequenceSampler", dataset=dataset, seed=3)
    )
    found = list(sampler)
    assert len(sampler) == len(found)
    sampler.set_epoch(2)
    assert list(sampler) == found
    return found


@pytest.fixture
def sintel(tmp_path) -> SintelDataset:
    write_sintel(tmp_path, SCENES, passes=["clean"], masks=False)
    return SintelDataset(data_root=str(tmp_path), **QUICK)


@pytest.fixture
def of_three():
    """Be a process of three, of a process group that talks to nobody."""

    def join(rank: int) -> None:
        dist.init_process_group("fake", rank=rank, world_size=3, store=FakeStore())

    yield join
    if dist.is_initialized():
        dist.destroy_process_group()


def test_one_process_has_everything(sintel):
    assert indices(sintel) == list(range(11))


@pytest.mark.parametrize(
    ("rank", "expected"), [(0, [2, 3, 4, 5, 6]), (1, [8, 9, 10]), (2, [0, 1, 7])]
)
def test_sequences_are_dealt_out_whole(sintel, of_three, rank, expected):
    of_three(rank)
    assert indices(sintel) == expected


def test_pairs_of_a_list_come_in_the_order_of_their_sequence(tmp_path):
    write_folders(tmp_path, {"a": 4, "b": 3})
    order = [("b", 0), ("a", 0), ("a", 1), ("b", 1), ("a", 2)]
    pairs = [dict(img1=f"{s}/{t}.png", img2=f"{s}/{t + 1}.png", sequence=s) for s, t in order]
    write_list(tmp_path / "pairs.json", pairs)
    dataset = FlowFolderDataset("pairs.json", data_root=str(tmp_path), **QUICK)
    assert indices(dataset) == [0, 3, 1, 2, 4]
    # An order of the user's is the dataset's; within a sequence it is that of the pairs.
    some = FlowFolderDataset("pairs.json", data_root=str(tmp_path), indices=[4, 3, 1], **QUICK)
    assert indices(some) == [2, 0, 1]


def test_a_concatenation_keeps_sequences_of_one_name_apart(sintel, of_three):
    both = ConcatDataset([sintel, sintel])
    assert indices(both) == list(range(22))
    of_three(0)
    assert indices(both) == [0, 1, 2, 3, 4, 5, 6, 18]


def test_datasets_that_have_no_sequences(sintel):
    with pytest.raises(ValueError, match=r"wants a dataset of optical flow.*not a RepeatDataset"):
        indices(RepeatDataset(sintel, times=2))
    with pytest.raises(ValueError, match="not a list"):
        indices([1, 2])


def test_the_test_loader_in_order(tmp_path):
    write_sintel(tmp_path, {"a": 3, "b": 2}, split="test")
    loader = Runner.build_dataloader(
        dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type="mmkd_ext.FlowSequenceSampler"),
            dataset=dict(
                type="ConcatDataset",
                datasets=[
                    dict(
                        type="mmkd_ext.SintelDataset",
                        data_root=str(tmp_path),
                        split="test",
                        render_pass=render_pass,
                        pipeline=PIPELINE,
                        test_mode=True,
                    )
                    for render_pass in ("clean", "final")
                ],
            ),
        ),
        seed=0,
    )
    assert [batch["data_samples"][0].result_path for batch in loader] == [
        f"{render_pass}/{name}.flo"
        for render_pass in ("clean", "final")
        for name in ("a/frame0001", "a/frame0002", "b/frame0001")
    ]
