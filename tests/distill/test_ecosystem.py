"""Stock mmdet, mmseg and mmpretrain models and inference tools around a Distiller."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS as DET_MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS as SEG_MODELS

from mmkd_ext.registry import DATASETS, MODELS

from ..hooks import tiny_run
from .stock_models import (
    FASTER_RCNN,
    PSPNET,
    RETINANET,
    det_batch,
    detector,
    distilled_segmentor,
    seg_batch,
    segmentor,
    stock,
)

NOWHERE = "/nonexistent/teacher.pth"  # testing and inferring must never look for it


def kd_keys(keys) -> list[str]:
    return [key for key in keys if key.startswith("distill.")]


def gradients(outputs, parameters, only=""):
    """Of the loss entries whose key starts with ``only``."""
    parts = [
        value
        for key, item in outputs.items()
        if "loss" in key and key.startswith(only)
        for value in (item if isinstance(item, list) else [item])
    ]
    return torch.autograd.grad(
        sum(part.sum() for part in parts), parameters, retain_graph=True, allow_unused=True
    )


def shares_its_weights(distiller, model):
    """Load the distiller's checkpoint into the stock model, as its own tools would."""
    assert kd_keys(distiller.state_dict())
    missing, unexpected = model.load_state_dict(distiller.state_dict(), strict=False)
    assert missing == []
    assert unexpected == kd_keys(unexpected)


# --- detectors and segmentors --------------------------------------------------------------------


@pytest.mark.parametrize("config", [RETINANET, FASTER_RCNN])
def test_a_detector_learns_from_one_of_other_classes(config):
    init_default_scope("mmdet")
    teacher = detector(config, classes=7, width=12)
    teacher.data_preprocessor.update(mean=[100.0, 90.0, 80.0], std=[50.0] * 3, bgr_to_rgb=False)
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="mmkd_ext.Distiller",
            student=detector(config, classes=3),
            teacher=dict(config=teacher),
            losses=dict(mgd=dict(type="MGDLoss", tap="neck.fpn_convs.{0-3}.conv")),
            input_shape=(3, 96, 128),
        )
    )
    model.init_weights()
    model.train()
    assert list(model.distill) == ["mgd_0", "mgd_1", "mgd_2", "mgd_3"]
    seen = []
    model.teacher.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    batch = model.data_preprocessor(copy.deepcopy(det_batch()), training=True)
    outputs = model(**batch, mode="loss")

    # What the teacher sees is what its own preprocessor makes of the images, padding included.
    own = model.teacher.data_preprocessor(copy.deepcopy(det_batch()), training=True)["inputs"]
    torch.testing.assert_close(seen[0], own, atol=1e-4, rtol=1e-4)

    alone = {key for key in outputs if not key.startswith("kd.")}
    assert alone == set(model.student(**batch, mode="loss"))
    levels = [model.neck.fpn_convs[i].conv.weight for i in range(4)]
    # Residual branches start at zero, so it is the shortcuts that a gradient comes through first.
    deep = [model.backbone.layer2[0].downsample[0].weight, model.backbone.layer4[1].bn2.weight]
    for gradient in gradients(outputs, levels + deep, only="kd.loss_mgd"):
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
    before = [p.detach().clone() for p in (*levels, *deep)]
    loss, _ = model.parse_losses(outputs)
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    assert not any(torch.equal(p, q) for p, q in zip(before, (*levels, *deep), strict=True))

    bare = DET_MODELS.build(detector(config, classes=3)).eval()
    shares_its_weights(model, bare)
    with torch.no_grad():
        ours = model.eval().test_step(det_batch())
        theirs = bare.test_step(det_batch())
    for one, other in zip(ours, theirs, strict=True):
        assert len(other.pred_instances) > 0
        for key in ("bboxes", "scores", "labels"):
            assert torch.equal(one.pred_instances[key], other.pred_instances[key])


@pytest.mark.parametrize("by_name", [True, False], ids=["by_name", "by_dict"])
def test_a_segmentor_learns_logits_and_features(tmp_path, by_name):
    init_default_scope("mmseg")
    teacher = dict(config=segmentor(width=16))
    if by_name:  # the stock network, SyncBN and `pretrained` included, from a file
        source = SEG_MODELS.build(stock(PSPNET).model)
        torch.save(dict(state_dict=source.state_dict()), tmp_path / "psp.pth")
        teacher = dict(config=PSPNET, checkpoint=str(tmp_path / "psp.pth"))
    torch.manual_seed(0)
    model = MODELS.build(distilled_segmentor(teacher))
    model.init_weights()
    if by_name:
        for name, value in model.teacher.state_dict().items():
            assert torch.equal(value, source.state_dict()[name])
    batch = model.train().data_preprocessor(seg_batch(), training=True)
    outputs = model(**batch, mode="loss")
    assert {"decode.loss_ce", "aux.loss_ce", "kd.loss_cwd", "kd.loss_mgd"} <= set(outputs)
    weights = [model.decode_head.conv_seg.weight, model.backbone.layer3[0].downsample[0].weight]
    (head, stage), (unheard, stage_too) = (
        gradients(outputs, weights, only=f"kd.loss_{name}") for name in ("cwd", "mgd")
    )
    assert min(part.abs().sum() for part in (head, stage, stage_too)) > 0
    assert unheard is None  # MGD looks before the head
    total, _ = model.parse_losses(outputs)
    total.backward()
    torch.optim.SGD(model.parameters(), lr=1e-2).step()

    bare = SEG_MODELS.build(segmentor()).eval()
    shares_its_weights(model, bare)
    with torch.no_grad():
        ours, theirs = (net.eval().test_step(seg_batch([(64, 64)] * 2)) for net in (model, bare))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.seg_logits.data, other.seg_logits.data)


# --- test-time augmentation and inference --------------------------------------------------------


@DATASETS.register_module()
class TwoViews(tiny_run.Squares):
    """Each image as it is and mirrored, as mmcv's TestTimeAug hands it out."""

    def __getitem__(self, index):
        item = super().__getitem__(index)
        views = [item["inputs"], item["inputs"].flip(-1)]
        return dict(inputs=views, data_samples=[item["data_samples"]] * 2)


def test_time_augmentation_of_a_classifier(tmp_path):
    init_default_scope("mmpretrain")
    distilled = tiny_run.config(tmp_path, teacher=dict(config=tiny_run.TEACHER)).model
    torch.manual_seed(0)
    source = MODELS.build(distilled)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / "trained.pth")
    distilled.teacher.checkpoint = NOWHERE
    results = []
    for module in (distilled, tiny_run.classifier(4)):
        cfg = tiny_run.config(
            tmp_path,
            model=dict(type="AverageClsScoreTTA", module=module),
            test_dataloader=dict(
                tiny_run.loader("TwoViews"), collate_fn=dict(type="pseudo_collate")
            ),
            test_cfg=dict(),
            test_evaluator=dict(type="Accuracy", topk=(1,)),
            load_from=str(tmp_path / "trained.pth"),
            log_level="ERROR",
        )
        runner = Runner.from_cfg(cfg)
        metrics = runner.test()
        data = next(iter(runner.test_dataloader))
        with torch.no_grad():
            scores = [sample.pred_score for sample in runner.model.test_step(data)]
        results.append((metrics, torch.stack(scores)))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_time_augmentation_of_a_segmentor():
    init_default_scope("mmseg")
    torch.manual_seed(0)
    teacher = dict(config=segmentor(width=16), checkpoint=NOWHERE)
    module = distilled_segmentor(teacher)
    ours = SEG_MODELS.build(dict(type="SegTTAModel", module=module)).eval()
    theirs = SEG_MODELS.build(dict(type="SegTTAModel", module=segmentor())).eval()
    shares_its_weights(ours.module, theirs.module)
    views = [seg_batch([(64, 64)] * 2, seed) for seed in (0, 1)]
    views = {key: [view[key] for view in views] for key in views[0]}
    with torch.no_grad():
        one, other = (net.test_step(copy.deepcopy(views)) for net in (ours, theirs))
    for mine, own in zip(one, other, strict=True):
        assert torch.equal(mine.pred_sem_seg.data, own.pred_sem_seg.data)


def written(tmp_path, cfg: Config, teacher: dict, losses: dict, shape) -> tuple[str, str, str]:
    """Config files of a distiller and of its bare student, and a checkpoint of the distiller.

    The teacher's own weights are nowhere: to infer, nobody may ask for them.
    """
    bare, distilled = copy.deepcopy(cfg), copy.deepcopy(cfg)
    distilled.custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
    distilled.model = dict(
        type="mmkd_ext.Distiller",
        student=cfg.model,
        teacher=dict(config=teacher, checkpoint=NOWHERE),
        losses=losses,
        input_shape=shape,
    )
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    arguments = {k: v for k, v in distilled.items() if k == "data_preprocessor"}
    model = MODELS.build(dict(distilled.model, **arguments))
    for name, item in (("distilled.py", distilled), ("bare.py", bare)):
        item.dump(tmp_path / name)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / "distilled.pth")
    return tuple(str(tmp_path / name) for name in ("distilled.py", "bare.py", "distilled.pth"))


IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_mmpretrains_inference_tools(tmp_path):
    from mmpretrain import ImageClassificationInferencer, get_model

    cfg = stock("mmpretrain::resnet/resnet18_8xb16_cifar10.py")
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    cfg.model.head.in_channels = 64
    losses = dict(mgd=dict(type="MGDLoss", tap="backbone.layer4"))
    *configs, weights = written(tmp_path, cfg, cfg.model, losses, (3, 32, 32))
    models = [get_model(config, pretrained=weights, device="cpu") for config in configs]
    for name, value in models[1].state_dict().items():
        assert torch.equal(models[0].state_dict()[name], value)
    ours, theirs = (
        ImageClassificationInferencer(config, pretrained=weights, device="cpu")(IMAGE)[0]
        for config in configs
    )
    assert ours["pred_scores"].shape == (10,)
    assert np.array_equal(ours["pred_scores"], theirs["pred_scores"])


def test_mmdets_inference_tools(tmp_path):
    from mmdet.apis import DetInferencer

    cfg = stock(RETINANET)
    cfg.model = detector(RETINANET, classes=80)
    cfg.test_dataloader.dataset.pipeline[1].scale = (96, 64)
    losses = dict(mgd=dict(type="MGDLoss", tap="neck.fpn_convs.{0-3}.conv"))
    *configs, weights = written(tmp_path, cfg, cfg.model, losses, (3, 64, 96))
    ours, theirs = (
        DetInferencer(
            model=config, weights=weights, device="cpu", palette="coco", show_progress=False
        )(IMAGE, no_save_vis=True)["predictions"][0]
        for config in configs
    )
    assert len(theirs["bboxes"]) > 0
    assert ours == theirs


def test_mmsegs_inference_tools(tmp_path):
    from mmseg.apis import MMSegInferencer

    cfg = stock(PSPNET)
    cfg.model = segmentor(norm="SyncBN")  # which the tool replaces, to run on a CPU
    cfg.test_dataloader.dataset.pipeline[1].scale = (64, 48)
    losses = distilled_segmentor({})["losses"]
    *configs, weights = written(tmp_path, cfg, cfg.model, losses, (3, 64, 64))
    ours, theirs = (
        MMSegInferencer(model=config, weights=weights, device="cpu", show_progress=False)(IMAGE)
        for config in configs
    )
    assert ours["predictions"].shape == IMAGE.shape[:2]
    assert np.array_equal(ours["predictions"], theirs["predictions"])


def test_a_preprocessor_of_the_config_is_not_written_into():
    """Mmpretrain's classifiers put their batch augmentation there, for whoever builds next."""
    preprocessor = tiny_run.preprocessor()
    losses = dict(tf=dict(type="TFNKDLoss", tap="head.fc"))
    with_mixup = dict(
        tiny_run.classifier(4), train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8)])
    )
    init_default_scope("mmpretrain")
    built = [
        MODELS.build(
            dict(
                type="mmkd_ext.Distiller",
                student=copy.deepcopy(student),
                losses=losses,
                data_preprocessor=preprocessor,
            )
        )
        for student in (tiny_run.classifier(4), with_mixup)
    ]
    assert [model.data_preprocessor.batch_augments is None for model in built] == [True, False]
    assert preprocessor == tiny_run.preprocessor()
