"""A larger SWEM, or one that remembers every frame, teaches a smaller one through the Distiller."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.registry import MODELS
from mmkd_ext.vos import VOSSession

from . import tiny

MEMORIES = {
    "swem": dict(type="SWEMMemory", num_bases=16, topl=8),
    "frames": dict(type="FrameMemory", topk=20, topl=4),
}


def distiller(memory, masks="student", **losses):
    """Both networks memorise the student's masks, or the ground truth."""
    options = dict(memory_masks="ground_truth") if masks == "ground truth" else {}
    student = tiny.config(**options)
    teacher = tiny.config(width=16, channels=24, **options)
    teacher["memory"] = MEMORIES[memory]
    given = dict(student_inputs="memorized(input)") if masks == "student" else {}
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type="mmkd_ext.Distiller",
            student=student,
            teacher=dict(config=teacher, **given),
            losses=losses
            or dict(
                f16=dict(type="MGDLoss", tap="key_encoder[2]", loss_weight=1e-3),
                context=dict(type="MGDLoss", tap="fusion", loss_weight=1e-3),
                up=dict(type="MGDLoss", tap="decoder.up_8_4", loss_weight=1e-4),
                kd=dict(type="KDLoss", tap="aggregation", temperature=2.0, alpha=1.0),
            ),
            input_shape=(3, 32, 48),
        )
    ).train()


@pytest.mark.parametrize(
    ("memory", "masks"), [("swem", "student"), ("frames", "student"), ("swem", "ground truth")]
)
def test_features_and_logits_are_distilled(memory, masks):
    model = distiller(memory, masks)
    assert {name: (m.student_channels, m.teacher_channels) for name, m in model.distill.items() if name != "kd"} == {
        "f16": (32, 64), "context": (16, 24), "up": (16, 24)
    }  # fmt: skip
    two, filled = tiny.clip(frames=4), tiny.clip(frames=4, seed=1)
    filled[1].valid_objects = torch.tensor([True, False])
    filled[1].gt_masks = filled[1].gt_masks.clamp(max=1)
    inputs, samples = tiny.batch(two, filled)

    taps = {"student": {}, "teacher": {}}
    for side, network in (("student", model.student), ("teacher", model.teacher)):
        for name in ("key_encoder", "fusion", "decoder.up_8_4", "aggregation", "value_encoder"):
            network.get_submodule(name).register_forward_hook(
                lambda module, args, output, side=side, name=name: (
                    taps[side].setdefault(name, []).append((args, output))
                ),
                prepend=True,  # the last tap's own hook ends the teacher's forward
            )
    losses = model(inputs, samples, mode="loss")
    for side in taps.values():
        assert len(side["key_encoder"]) == 4
        assert {name: len(side[name]) for name in ("fusion", "aggregation", "value_encoder")} == {
            "fusion": 3, "aggregation": 3, "value_encoder": 3
        }  # fmt: skip
        # Three objects of two clips; the one that fills up is in no feature.
        assert all(output.shape[0] == 3 for _, output in side["fusion"])
    # Both memorise the same masks: in the first frame those that are given.
    memorised = [
        [args[1].detach() for args, _ in taps[side]["value_encoder"]]
        for side in ("student", "teacher")
    ]
    for ours, theirs in zip(*memorised, strict=True):
        assert torch.equal(ours, theirs)
    hard = [bool(((one == 0) | (one == 1)).all()) for one in memorised[0]]
    assert hard == ([True] * 3 if masks == "ground truth" else [True, False, False])

    expected = 0.0
    pairs = zip(taps["student"]["aggregation"], taps["teacher"]["aggregation"], strict=True)
    for (_, student), (_, teacher) in pairs:
        log_p = F.log_softmax(student / 2, dim=1)
        expected += 4 * -((teacher / 2).softmax(dim=1) * log_p).sum(dim=1).mean()
    torch.testing.assert_close(losses["kd.loss_kd"], expected)
    assert {"loss_ce", "loss_iou", "J", "kd.loss_f16", "kd.loss_context", "kd.loss_up"} < set(
        losses
    )
    total, log = model.parse_losses(losses)
    total.backward()
    assert log["loss"].isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad is None for p in model.teacher.parameters())


def test_a_channel_of_no_object_teaches_nothing():
    """Not even at a temperature that softens the rest; neither the value nor a gradient changes."""
    model = distiller("swem", kd=dict(type="KDLoss", tap="aggregation", temperature=8.0))
    frames, sample = tiny.clip(objects=1)
    values, gradients = [], []
    for valid in ([True], [True, False]):
        sample.valid_objects = torch.tensor(valid)
        values.append(model(*tiny.batch((frames, sample)), mode="loss")["kd.loss_kd"])
        parameters = [p for p in model.parameters() if p.requires_grad]
        gradients.append(torch.autograd.grad(values[-1], parameters, allow_unused=True))
    torch.testing.assert_close(*values, rtol=1e-5, atol=0)
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_the_student_alone_is_tested():
    model = distiller("swem", context=dict(type="MGDLoss", tap="fusion"))
    bare = MODELS.build(tiny.config()).eval()
    missing, unexpected = bare.load_state_dict(model.state_dict(), strict=False)
    assert missing == []
    assert all(key.startswith("distill.") for key in unexpected)
    ids = tiny.squares(3, 2)
    frames = tiny.images(ids)
    sessions = VOSSession(bare), VOSSession(model.student.eval())
    for t in range(3):
        ours, theirs = (session.step(frames[t], ids[t] if t == 0 else None) for session in sessions)
        assert torch.equal(ours, theirs)
