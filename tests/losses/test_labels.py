from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import BaseDataElement

from mmkd_ext.losses import NKDLoss, labels_from_samples
from mmkd_ext.losses.labels import without_columns


def sample(**fields):
    return BaseDataElement(**fields)


def test_hard_labels():
    samples = [sample(gt_label=torch.tensor([k])) for k in (3, 0, 2)]
    labels = labels_from_samples(samples, 5)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [3, 0, 2]
    assert labels_from_samples([{"gt_label": 4}, SimpleNamespace(gt_label=1)], 5).tolist() == [4, 1]


def test_scores_come_before_labels():
    scores = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]])
    samples = [sample(gt_label=torch.tensor([0]), gt_score=row) for row in scores]
    torch.testing.assert_close(labels_from_samples(samples, 3), scores)


def test_mmpretrain_samples_after_mixup():
    """What mmpretrain's own preprocessor hands over: integer one-hot rows, or mixed ones."""
    from mmpretrain.models import ClsDataPreprocessor
    from mmpretrain.structures import DataSample

    torch.manual_seed(0)
    data = {
        "inputs": torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        "data_samples": [DataSample().set_gt_label(k) for k in (1, 2, 3, 4)],
    }
    logits = torch.randn(4, 6)
    hard = NKDLoss()(logits, logits, data["data_samples"])
    plain = ClsDataPreprocessor(to_onehot=True, num_classes=6)
    one_hot = plain(data, training=True)["data_samples"]
    assert labels_from_samples(one_hot, 6).dtype == torch.int64
    torch.testing.assert_close(NKDLoss()(logits, logits, one_hot), hard)
    augments = {"augments": [{"type": "Mixup", "alpha": 0.8}]}
    mixing = ClsDataPreprocessor(num_classes=6, batch_augments=augments)
    target = labels_from_samples(mixing(data, training=True)["data_samples"], 6)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(4))
    assert NKDLoss(soft_labels="mix")(logits, logits, target).isfinite()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (None, "there are no data samples"),
        ([], "there are no data samples"),
        ([sample()], "neither gt_label nor gt_score"),
        ([sample(gt_label=torch.tensor([0, 1]))], "multi-label"),
        ([sample(gt_score=torch.rand(4))], r"shape \(4,\), but the logits have 3 classes"),
    ],
)
def test_unusable_samples(samples, message):
    with pytest.raises(ValueError, match=message):
        labels_from_samples(samples, 3)
    logits = torch.rand(1, 3)
    with pytest.raises(ValueError, match=f"NKDLoss: .*{message}"):
        NKDLoss()(logits, logits, samples)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3]), "labels run from 0 to 3, but there are 3 classes"),
        (torch.tensor([-1, 2]), "labels run from -1 to 2"),
        (torch.tensor([0, 1, 2]), r"labels must be \(2,\) integers or \(2, 3\) weights"),
        (torch.tensor([0.0, 1.0]), "labels must be .*torch.float32"),
        (torch.rand(2, 4), r"not \(2, 4\)"),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    logits = torch.rand(2, 3)
    with pytest.raises(ValueError, match=f"NKDLoss: .*{message}"):
        NKDLoss()(logits, logits, labels)


def test_without_columns():
    logits = torch.arange(12).reshape(3, 4)
    one = without_columns(logits, torch.tensor([[0], [3], [1]]))
    assert one.tolist() == [[1, 2, 3], [4, 5, 6], [8, 10, 11]]
    two = without_columns(logits, torch.tensor([[3, 0], [1, 2], [0, 1]]))
    assert two.tolist() == [[1, 2], [4, 7], [10, 11]]
