"""What optimizers see: the groups of the stock config, then the loss modules."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmkd_ext.distill import Distiller

from .nets import Connected, Tiny


def groups(model, wrapper):
    """Per group, its options and the names of its parameters."""
    names = {id(p): n for n, p in model.named_parameters()}
    return [
        (
            {k: v for k, v in group.items() if k != "params"},
            [names[id(p)] for p in group["params"]],
        )
        for group in wrapper.optimizer.param_groups
    ]


def compare(student, config, losses, teacher, input_shape):
    stock = groups(student, build_optim_wrapper(student, config))
    model = Distiller(student=student, teacher=teacher, losses=losses, input_shape=input_shape)
    ours = groups(model, build_optim_wrapper(model, config))
    assert ours[: len(stock)] == stock
    extra = [name for _, names in ours[len(stock) :] for name in names]
    assert extra == [f"distill.{n}" for n, _ in model.distill.named_parameters()]
    return stock, ours


VIT = dict(
    mmpretrain=dict(
        type="mmpretrain.VisionTransformer",
        arch=dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=48),
        img_size=32,
        patch_size=16,
    ),
    mmseg=dict(type="BEiT", img_size=32, patch_size=16, embed_dims=24, num_layers=3, num_heads=2, out_indices=(2,)),
)  # fmt: skip


def layer_decay(library):
    base = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05))
    if library == "mmpretrain":
        return dict(
            base,
            constructor="mmpretrain.LearningRateDecayOptimWrapperConstructor",
            paramwise_cfg=dict(layer_decay_rate=0.5, norm_decay_mult=0.0, bias_decay_mult=0.0),
        )
    return dict(
        base,
        constructor=f"{library}.LearningRateDecayOptimizerConstructor",
        paramwise_cfg=dict(num_layers=3, decay_rate=0.5, decay_type="layer_wise"),
    )


def test_layer_decay_of_mmpretrain():
    import mmpretrain.engine  # noqa: F401
    from mmengine.registry import MODELS

    student = MODELS.build(
        dict(
            _scope_="mmpretrain",
            type="ImageClassifier",
            backbone=dict(VIT["mmpretrain"], type="VisionTransformer"),
            head=dict(type="VisionTransformerClsHead", num_classes=4, in_channels=24),
        )
    )
    losses = dict(v=dict(type=Connected, tap=dict(student="backbone.patch_embed.projection", teacher="stem")))  # fmt: skip
    stock, ours = compare(student, layer_decay("mmpretrain"), losses, Tiny(), (3, 32, 32))
    assert len({group["lr"] for group, _ in stock}) > 3
    for group, _ in ours[len(stock) :]:
        assert group["lr"] == 1e-3
    bias = next(group for group, names in ours if names == ["distill.v.connector.bias"])
    assert bias["weight_decay"] == 0


def test_layer_decay_of_mmseg():
    import mmseg.engine  # noqa: F401
    from mmengine.registry import MODELS

    student = MODELS.build(
        dict(
            _scope_="mmseg",
            type="EncoderDecoder",
            backbone=VIT["mmseg"],
            decode_head=dict(type="FCNHead", in_channels=24, channels=8, num_classes=4, num_convs=1, in_index=0),
        )
    )  # fmt: skip
    losses = dict(v=dict(type=Connected, tap=dict(student="backbone.patch_embed.projection", teacher="stem")))  # fmt: skip
    stock, ours = compare(student, layer_decay("mmseg"), losses, Tiny(), (3, 32, 32))
    assert len({group["lr"] for group, _ in stock}) > 3
    assert all(group["lr"] == 1e-3 for group, _ in ours[len(stock) :])


def test_layer_decay_of_mmdet():
    import mmdet.engine  # noqa: F401
    from mmengine.registry import MODELS

    # mmdet's constructor knows ConvNeXt by name; mmpretrain has the network.
    student = MODELS.build(
        dict(
            _scope_="mmdet",
            type="RetinaNet",
            data_preprocessor=dict(type="DetDataPreprocessor"),
            backbone=dict(
                type="mmpretrain.ConvNeXt",
                arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 32]),
                out_indices=(1, 2, 3),
                gap_before_final_norm=False,
            ),
            neck=dict(type="FPN", in_channels=[16, 24, 32], out_channels=8, num_outs=3),
            bbox_head=dict(
                type="RetinaHead",
                num_classes=3,
                in_channels=8,
                feat_channels=8,
                stacked_convs=1,
                anchor_generator=dict(
                    type="AnchorGenerator", octave_base_scale=4, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32]
                ),
                bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
            ),
        )
    )  # fmt: skip
    config = layer_decay("mmdet")
    config["paramwise_cfg"]["num_layers"] = 6
    losses = dict(v=dict(type=Connected, tap=dict(student="neck.fpn_convs.{0-2}.conv", teacher="stem")))  # fmt: skip
    stock, ours = compare(student, config, losses, Tiny(), (3, 64, 64))
    assert len({group["lr"] for group, _ in stock}) > 3
    assert len(ours) == len(stock) + 3
    assert all(group["lr"] == 1e-3 for group, _ in ours[len(stock) :])


@pytest.mark.parametrize("paramwise", [None, dict(norm_decay_mult=0.0, bias_lr_mult=2.0)])
def test_mmengines_own_constructor(paramwise):
    config = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4))  # fmt: skip
    if paramwise:
        config["paramwise_cfg"] = paramwise
    losses = dict(a=dict(type=Connected, tap="stem"), b=dict(type=Connected, tap="shared",
                  student_channels=4, teacher_channels=6))  # fmt: skip
    stock, ours = compare(Tiny(), config, losses, Tiny(width=6), (3, 8, 8))
    if paramwise is None:
        assert len(ours) == len(stock) + 2  # one group a loss
    else:
        bias = next(group for group, names in ours if names == ["distill.a.connector.bias"])
        assert bias["lr"] == 0.2


def test_custom_keys_reach_the_loss_modules_and_an_optimizer_resumes():
    config = dict(
        type="OptimWrapper",
        optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4),
        paramwise_cfg=dict(
            custom_keys={"distill.a": dict(lr_mult=10.0), "stem": dict(lr_mult=0.1)}
        ),
        clip_grad=dict(max_norm=1e-3),
    )
    model = Distiller(
        student=Tiny(),
        teacher=Tiny(width=6),
        losses=dict(
            a=dict(type=Connected, tap="stem"),
            stem_kd=dict(type=Connected, tap="stem"),  # named like a module of the student
        ),
        input_shape=(3, 8, 8),
    )
    wrapper = build_optim_wrapper(model, config)
    rates = {names[0]: group["lr"] for group, names in groups(model, wrapper)}
    assert rates["distill.a.connector.weight"] == 1.0
    assert rates["stem.weight"] == pytest.approx(0.01)
    assert rates["distill.stem_kd.connector.weight"] == 0.1
    images = torch.randn(2, 3, 8, 8)
    outputs = model.train()(images, [torch.tensor(0), torch.tensor(1)], mode="loss")
    loss, _ = model.parse_losses(outputs)
    wrapper.update_params(loss)
    again = build_optim_wrapper(model, config)
    again.load_state_dict(wrapper.state_dict())
    assert len(again.optimizer.state) == len(list(model.parameters()))
