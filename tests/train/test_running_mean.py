"""The running mean of the weights is that of torch, also after a copy."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import mera
from mera.train.running_mean import RunningMean


@pytest.mark.parametrize("name", ["rgflow", "glow"])
def test_against_torch(name):
    torch.manual_seed(0)
    flow = mera.build(name, L=8, layers=1, hidden=(8,))
    mean, expected = RunningMean(flow, 0.9), AveragedModel(flow, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for step in range(4):
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(torch.randn_like(parameter))
        if step == 2:
            mean = copy.deepcopy(mean)
        for average in (mean, expected):
            average.update_parameters(flow)
    assert mean.n_averaged == 4
    for (key, value), other in zip(expected.state_dict().items(), mean.state_dict().values(), strict=True):
        torch.testing.assert_close(other, value, msg=key)
