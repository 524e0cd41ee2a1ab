"""Muon: its factors, a step by hand, its state, and training with it by name."""

import copy

import pytest
import torch
from torch import nn
from torch.amp import GradScaler

import mera
from mera.train import Muon, fit, optimizers
from mera.train.optimizers import layer_groups, orthogonal
from tests.helpers.callbacks import At
from tests.helpers.training import IMAGES, SHORT, same, small_flow


@pytest.mark.parametrize("shape", [(3, 9, 20), (2, 20, 9), (1, 8, 8)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    x = torch.randn(shape, dtype=torch.float64)
    found = orthogonal(x, 6)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    values = torch.diagonal(u.mT @ found @ v.mT, dim1=1, dim2=2)
    assert values.min() > 0.5
    assert values.max() < 1.3
    torch.testing.assert_close(u @ torch.diag_embed(values) @ v, found, atol=1e-8, rtol=0)


def test_two_steps_by_hand():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    matrix, vector = nn.Parameter(torch.randn(8, 12)), nn.Parameter(torch.randn(5))
    start, alone = matrix.detach().clone(), copy.deepcopy(vector)
    optimizer = Muon([matrix, vector], lr=0.1, weight_decay=0.2, scale=0.4, decay=0.7)
    adam = torch.optim.AdamW([alone], lr=0.1, weight_decay=0.2)
    mean = torch.zeros(8, 12)
    for _ in range(2):
        matrix.grad, vector.grad = torch.randn(8, 12), torch.randn(5)
        alone.grad = vector.grad.clone()
        mean = 0.95 * mean + 0.05 * matrix.grad
        ahead = 0.05 * matrix.grad + 0.95 * mean
        start = start * (1 - 0.1 * 0.7) - 0.1 * 0.4 * 12**0.5 * orthogonal(ahead[None])[0]
        optimizer.step()
        adam.step()
    torch.testing.assert_close(matrix.detach(), start)
    torch.testing.assert_close(vector, alone)


def test_small_and_frozen_parameters():
    thin, frozen = nn.Parameter(torch.ones(2, 30)), nn.Parameter(torch.ones(9, 9))
    optimizer = Muon([thin, frozen], lr=0.1)
    thin.grad = torch.ones(2, 30)
    optimizer.step()
    assert "exp_avg" in optimizer.state[thin]
    assert torch.equal(frozen, torch.ones(9, 9))
    with pytest.raises(ValueError, match="a momentum from 0 to below 1; got 1"):
        Muon([thin], momentum=1)
    with pytest.raises(ValueError, match="decay as a number >= 0; got -1"):
        Muon([thin], decay=-1)


def test_weights_of_layers_are_matrices():
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(3, 4, 3), nn.Linear(9, 8), nn.LayerNorm((9, 9))).double()
    groups = {group["matrices"]: group["params"] for group in layer_groups(layers)}
    assert [p.shape for p in groups[True]] == [(8, 3, 3, 3), (8, 9)]
    assert sum(map(len, groups.values())) == len(list(layers.parameters()))
    start = layers[0].weight.detach().clone()
    optimizer = Muon(layer_groups(layers), lr=0.1, momentum=0.0, scale=0.2, decay=0.0)
    layers[0].weight.grad = torch.randn(8, 3, 3, 3, dtype=torch.float64)
    optimizer.step()
    step = (layers[0].weight.detach() - start).flatten(1)
    expected = -0.1 * 0.2 * 27**0.5 * orthogonal(layers[0].weight.grad.flatten(1)[None])[0]
    torch.testing.assert_close(step, expected)


def test_steps_in_bfloat16_are_those_in_single_precision_up_to_rounding(monkeypatch):
    gradient, steps = torch.randn(16, 12), []
    for is_fast in (False, True):
        monkeypatch.setattr(optimizers, "has_fast_bfloat16", lambda device, fast=is_fast: fast)
        matrix = nn.Parameter(torch.zeros(16, 12))
        matrix.grad = gradient.clone()
        Muon([matrix], lr=1.0).step()
        steps.append(matrix.detach())
    assert not torch.equal(*steps)
    assert (steps[0] - steps[1]).norm() < 0.05 * steps[0].norm()


def test_gradients_that_overflow_under_a_scaler_change_nothing():
    layer = nn.Linear(16, 8)
    before, optimizer = copy.deepcopy(layer), Muon(layer.parameters(), fused=True)
    assert optimizer._adamw.defaults["fused"]
    scaler = GradScaler("cpu")
    scaler.scale(layer(torch.full((1, 16), 1e38)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() < 2.0**16
    assert same(layer, before)


def test_it_is_the_default_for_data_alone():
    kinds = []
    watch = At(1, lambda loop: kinds.append(type(loop.optimizer)))
    fit(small_flow(), IMAGES, SHORT, steps=1, callbacks=[watch])
    flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), norm=False)
    short = {"steps": 1, "batch_size": 4, "callbacks": [watch], "check": False}
    fit(flow, mera.physics.FreeField(1.0), SHORT, **short)
    fit(flow, mera.physics.FreeField(1.0), SHORT, **short, optimizer="Muon")
    assert kinds == [Muon, torch.optim.AdamW, Muon]
    assert {group["matrices"] for group in layer_groups(small_flow())} == {True, False}
