"""Number sequences and values that the published implementations gave on them, in float64."""

import math

import torch
from torch import nn

CLASSES = 10
HARD = torch.tensor([1, 7, 3, 9])
_ROWS = ({1: 0.8, 5: 0.2}, {7: 0.7, 2: 0.3}, {3: 0.55, 0: 0.45}, {9: 0.6, 4: 0.4})


def sequence(count, a, b, m):
    """A(n; a, b, m): ((k a + b) mod m) / m."""
    return ((torch.arange(count, dtype=torch.int64) * a + b) % m).double() / m


def tensor(shape, a, b, m, scale=1.0):
    """X(shape; a, b, m, scale): (A - 0.5) * scale in C order."""
    return ((sequence(math.prod(shape), a, b, m) - 0.5) * scale).reshape(shape)


def student(shape, scale=1.0):
    return tensor(shape, 37, 3, 101, scale).requires_grad_()


def teacher(shape, scale=1.0):
    return tensor(shape, 53, 5, 97, scale)


def logits():
    """Student logits (leaf) and teacher logits, (4, 10)."""
    return student((4, CLASSES), 6), teacher((4, CLASSES), 8)


def soft():
    """Mixed labels of the same largest classes as HARD."""
    target = torch.zeros(4, CLASSES, dtype=torch.float64)
    for row, weights in enumerate(_ROWS):
        for label, weight in weights.items():
            target[row, label] = weight
    return target


def fill(module: nn.Module, scale=0.5):
    """Float64 weights from the sequence, one tensor after the other."""
    module.double()
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            parameter.copy_(tensor(parameter.shape, 29, 11 + index, 83, scale))
    return module


def fake_rand(calls=None):
    """A ``torch.rand`` that gives the sequence; it notes its shapes in ``calls``."""

    def rand(*size, **kwargs):
        shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        if calls is not None:
            calls.append((tuple(shape), kwargs))
        return sequence(math.prod(shape), 7919, 13, 1009).reshape(shape)

    return rand


def close(value, expected):
    """Equal to 1e-9 of the value; all printed values have more digits than that."""
    return math.isclose(value.item(), expected, rel_tol=1e-9)
