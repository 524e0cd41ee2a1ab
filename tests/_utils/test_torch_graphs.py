"""Recordings have fewer operations than the functions, and the same results and gradients, call after call."""

import pytest
import torch
import torch.nn.functional as F

from mera._utils.torch_private import record, without_fusion

WEIGHT, BIAS = torch.randn(5, 6), torch.randn(5)


def kinds(recording):
    """The operations of a recording that are not constants."""
    return [node.kind() for node in recording.graph.nodes() if node.kind().startswith("aten")]


def shapes(x):
    return x.flatten(1).reshape(2, 2, 3).flatten(1).to(x.dtype).view(2, 6) * x.flatten(1)


def zeros(x):
    log_det = x.new_zeros(2) + x.new_zeros(2)
    return log_det + x.sum(1) + (torch.zeros(2) + x.sum(1) * 2)


def linear(x):
    return F.linear(F.linear(x, WEIGHT, BIAS), WEIGHT.mT.contiguous()) + F.linear(x, WEIGHT[:1], BIAS[:1])


def other_shapes(x):
    vector = F.linear(x, WEIGHT[0]) + x.sum().reshape(1).reshape(()) + x[:, :1].sum()
    return F.linear(x[None], WEIGHT, BIAS).reshape(1, 10) + torch.zeros(2, 1) + vector.sum()


def other_sums(x):
    return torch.add(torch.zeros(2, 6), x, alpha=3) + (x[:, :1].expand(2, 6) + torch.zeros(2, 6)).view(12).view(2, 6)


def other_dtypes(x):
    return x.to(torch.float64).to(torch.float32) + torch.zeros(6, dtype=torch.float64)


def in_place(x):
    """Zeros and a copy that change in each call."""
    total, copy, same, rows = x.new_zeros(2, 6), x.to(x.dtype, copy=True), x + torch.zeros(2, 6), x.mT.reshape(3, 4)
    changed = x * 1
    first, view = changed + torch.zeros(2, 6), changed.view(12).view(2, 6)
    for tensor in (total, copy, same, rows, changed):
        tensor.view(-1).add_(1).mul_(2)
    return total + copy + same + rows.reshape(2, 6) + first + view * x


def returned(x):
    return x + torch.zeros(2, 6)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (shapes, ["aten::mul"]),
        (zeros, ["aten::sum", "aten::mul", "aten::add"]),
        (linear, ["aten::addmm", "aten::linear", "aten::addmm", "aten::add"]),
        (other_shapes, None), (other_sums, None), (other_dtypes, None), (in_place, None), (returned, ["aten::add"]),
    ],
)  # fmt: skip
def test_a_recording_is_the_function(function, expected):
    example = torch.randn(2, 6, requires_grad=True)
    recording = record(function, (example,))
    for _ in range(3):
        x = torch.randn(2, 6, requires_grad=True)
        with without_fusion():
            value, right = recording(x), function(x)
        assert value is not x
        assert (value.shape, value.dtype) == (right.shape, right.dtype)
        torch.testing.assert_close(value, right)
        weight = torch.randn_like(right)
        gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (value, right)]
        torch.testing.assert_close(*gradients)
    assert expected is None or kinds(recording) == expected
