"""prepare_config and set_data_root on real configs of the stock libraries."""

import pytest
from mmengine.config import Config

from mmkd_ext.apis.config import load_config, set_data_root
from mmkd_ext.apis.errors import UserError
from mmkd_ext.apis.train import prepare_config


def strings(node):
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from strings(value)


def data_strings(cfg):
    return list(strings({key: value for key, value in cfg.items() if key != "model"}))


@pytest.mark.parametrize(
    ("config", "old", "evaluator"),
    [
        ("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", "data/coco", True),
        ("mmdet::yolox/yolox_s_8xb8-300e_coco.py", "data/coco", True),  # MultiImageMixDataset
        ("mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py", "data/cityscapes", False),
        ("mmpretrain::resnet/resnet18_8xb32_in1k.py", "data/imagenet", False),
    ],
)
def test_data_root_reaches_everything(config, old, evaluator, tmp_path):
    cfg = load_config(config)
    before = [text for text in data_strings(cfg) if text.startswith(old)]
    done = set_data_root(cfg, tmp_path)
    after = data_strings(cfg)
    assert not [text for text in after if text.startswith(old)]
    assert len([text for text in after if text.startswith(str(tmp_path))]) == len(before)
    assert len(done) == len(before)
    for split in ("train", "val", "test"):
        assert any(one.key.startswith(f"{split}_dataloader.") for one in done)
    if evaluator:
        assert cfg.val_evaluator.ann_file == str(tmp_path / "annotations/instances_val2017.json")
    Config.fromstring(cfg.pretty_text, ".py")  # still a config


def test_data_root_in_wrappers_and_with_several_roots(tmp_path):
    inner = [dict(type="A", data_root=f"data/VOC/{year}/", ann="x") for year in (2007, 2012)]
    concat = dict(type="ConcatDataset", datasets=inner)
    cfg = Config(
        dict(
            train_dataloader=dict(dataset=dict(type="RepeatDataset", dataset=concat)),
            val_evaluator=[
                dict(type="M", ann_file="data/VOC/2007/val.txt", other="data/elsewhere")
            ],
            tta_pipeline=[dict(type="T", files=("./data/VOC/2012/a", "b"))],
            model=dict(teacher=dict(checkpoint="data/VOC/2007/teacher.pth")),
            work_dir="data/VOC/2007/work",
        )
    )
    set_data_root(cfg, tmp_path)
    datasets = cfg.train_dataloader.dataset.dataset.datasets
    assert [one.data_root for one in datasets] == [f"{tmp_path}/2007/", f"{tmp_path}/2012/"]
    assert cfg.val_evaluator[0].ann_file == f"{tmp_path}/2007/val.txt"
    assert cfg.val_evaluator[0].other == "data/elsewhere"
    assert cfg.tta_pipeline[0].files == (f"{tmp_path}/2012/a", "b")
    assert cfg.model.teacher.checkpoint == "data/VOC/2007/teacher.pth"
    assert cfg.work_dir == "data/VOC/2007/work"


@pytest.mark.parametrize(
    ("roots", "words"),
    [
        ([], "nothing to replace"),
        (["/a/b", "c"], "no common folder"),
        (["s3://a", "s3://b"], "no common"),
    ],
)
def test_data_root_that_cannot_be_set(roots, words, tmp_path):
    datasets = [dict(type="A", data_root=root) for root in roots]
    cfg = Config(dict(train_dataloader=dict(dataset=dict(datasets=datasets))))
    with pytest.raises(UserError, match=words):
        set_data_root(cfg, tmp_path)


def test_remote_root(tmp_path):
    evaluator = dict(ann_file="s3://bucket/coco/annotations/val.json")
    cfg = Config(dict(d=dict(data_root="s3://bucket/coco/"), val_evaluator=evaluator))
    set_data_root(cfg, tmp_path)
    assert cfg.d.data_root == f"{tmp_path}/"
    assert cfg.val_evaluator.ann_file == f"{tmp_path}/annotations/val.json"


def test_stock_checkpoint_hook_becomes_ours_and_keeps_its_arguments():
    cfg = prepare_config(load_config("mmdet::yolox/yolox_s_8xb8-300e_coco.py"))
    assert cfg.default_hooks.checkpoint == dict(
        type="mmkd_ext.CheckpointHook", interval=10, max_keep_ckpts=3
    )
    assert cfg.default_hooks.exact_resume == dict(type="mmkd_ext.ExactResumeHook")


def test_opting_out_of_our_hooks():
    base = dict(work_dir="w")
    cfg = prepare_config(Config(dict(base, mmkd_default_hooks=False)))
    assert dict(cfg.default_hooks) == {}
    cfg = prepare_config(Config(dict(base, default_hooks=dict(exact_resume=None))))
    assert dict(cfg.default_hooks) == {"checkpoint": dict(type="mmkd_ext.CheckpointHook")}
    mine = dict(type="MyHook", interval=3)
    cfg = prepare_config(Config(dict(base, default_hooks=dict(checkpoint=mine))))
    assert cfg.default_hooks.checkpoint == mine


def test_work_dir_and_the_dump(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = prepare_config(load_config("cls_digits_baseline.py"))
    assert cfg.work_dir == "work_dirs/cls_digits_baseline"
    assert cfg.filename.endswith("/cls_digits_baseline_resolved.py")
    assert cfg.experiment_name == "cls_digits_baseline"
    again = prepare_config(cfg)  # harmless
    assert again.filename.endswith("/cls_digits_baseline_resolved.py")
    assert prepare_config(Config(dict(work_dir="x")), work_dir="y").work_dir == "y"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        prepare_config(Config({}), work_dir="file")


def test_options_win_over_everything():
    cfg = prepare_config(
        load_config("mmpretrain::resnet/resnet18_8xb32_in1k.py"),
        resume="auto",
        auto_scale_lr=True,
        validate=False,
        cfg_options={"train_dataloader.batch_size": 7, "work_dir": "z"},
    )
    assert (cfg.resume, cfg.load_from, cfg.work_dir) == (True, None, "z")
    assert cfg.train_dataloader.batch_size == 7
    assert cfg.auto_scale_lr.enable
    assert cfg.val_dataloader is None
    # what mmpretrain's own tool would set
    assert cfg.train_dataloader.collate_fn == dict(type="default_collate")
    assert cfg.train_dataloader.persistent_workers


def test_workers_persist_only_where_there_are_any():
    cfg = load_config("mmpretrain::resnet/resnet18_8xb32_in1k.py")
    cfg.train_dataloader.num_workers = 0
    assert not prepare_config(cfg).train_dataloader.persistent_workers
