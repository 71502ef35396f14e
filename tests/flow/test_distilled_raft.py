"""A larger RAFT teaches a smaller one through the Distiller: features and pseudo-labels."""

from __future__ import annotations

import torch

from mmkd_ext.flow.losses import sequence_loss
from mmkd_ext.registry import MODELS
from tests.flow import tiny_raft


def distiller(**losses):
    torch.manual_seed(0)
    teacher = tiny_raft.config(width=24, hidden=24, test_cfg=dict(iters=5))
    return MODELS.build(
        dict(
            type="mmkd_ext.Distiller",
            student=tiny_raft.config(iters=3),
            teacher=dict(config=teacher),
            losses=losses
            or dict(
                features=dict(type="MGDLoss", tap="feature_encoder.layer3", loss_weight=1e-3),
                context=dict(type="MGDLoss", tap="context_encoder.layer3", loss_weight=1e-3),
                label=dict(type="FlowPseudoLabelLoss", tap="predictions", loss_weight=0.5),
            ),
            input_shape=(2, 3, 32, 48),
        )
    ).train()


def batch(model):
    pairs = tiny_raft.image_pairs((32, 48), (32, 48))
    samples = [tiny_raft.sample(32, 48, seed=seed) for seed in (0, 1)]
    return model.data_preprocessor(dict(inputs=pairs, data_samples=samples), training=True)


def test_features_and_pseudo_labels():
    model = distiller()
    channels = {
        name: (model.distill[name].student_channels, model.distill[name].teacher_channels)
        for name in ("features", "context")
    }
    assert channels == {"features": (24, 32), "context": (24, 32)}
    data = batch(model)
    losses = model(**data, mode="loss")
    terms = {key for key in losses if "loss" in key}
    assert terms == {"loss_flow", "kd.loss_features", "kd.loss_context", "kd.loss_label"}
    # The label is the teacher's fifth flow, though the student has three.
    with torch.no_grad():
        label = model.teacher(data["inputs"], mode="tensor")
        assert len(label) == 5
        flows = model.student(data["inputs"], mode="tensor")
        everywhere = torch.ones(2, 32, 48, dtype=torch.bool)
        expected = 0.5 * sequence_loss(flows, label[-1], everywhere)
    torch.testing.assert_close(losses["kd.loss_label"].detach(), expected)
    total, log = model.parse_losses(losses)
    total.backward()
    torch.testing.assert_close(log["loss"], sum(losses[term] for term in terms))
    assert all(p.grad is None for p in model.teacher.parameters())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_labels_alone_teach_without_ground_truth_everywhere():
    """A student that follows its teacher's labels comes nearer to them."""
    model = distiller(label=dict(type="FlowPseudoLabelLoss", tap="predictions"))
    data = batch(model)
    for sample in data["data_samples"]:
        sample.gt_valid = torch.zeros(32, 48, dtype=torch.bool)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    found = []
    for _ in range(12):
        losses = model(**data, mode="loss")
        assert losses["loss_flow"] == 0
        found.append(losses["kd.loss_label"].item())
        optimizer.zero_grad()
        losses["kd.loss_label"].backward()
        optimizer.step()
    assert found[-1] < 0.8 * found[0]


def test_the_student_alone_is_tested():
    model = distiller()
    bare = MODELS.build(tiny_raft.config()).eval()
    missing, unexpected = bare.load_state_dict(model.state_dict(), strict=False)
    assert missing == []
    assert all(key.startswith("distill.") for key in unexpected)
    pairs, samples = tiny_raft.image_pairs((30, 44)), [tiny_raft.sample(30, 44)]
    ours = model.eval().test_step(dict(inputs=pairs, data_samples=samples))[0].pred_flow
    theirs = bare.test_step(dict(inputs=pairs, data_samples=samples))[0].pred_flow
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
