"""Parameters side by side in memory: steps are those of the parameters one by one."""

import copy

import pytest
import torch
from torch import nn

from mera.train import Callback, fit
from mera.train.bundles import Bundles
from mera.train.optimizers import groups_for, named_optimizer
from tests.helpers.callbacks import At
from tests.helpers.training import IMAGES, SHORT, small_flow


def layers():
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Linear(9, 8), nn.LayerNorm((9, 9)), nn.Linear(9, 8), nn.PReLU()
    return nn.ModuleList([*parts, nn.Linear(2, 3)]).double()


def set_gradients(module, step, none=()):
    generator = torch.Generator().manual_seed(step)
    for name, parameter in module.named_parameters():
        gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad = None if name in none else gradient


@pytest.mark.parametrize("name", ["Muon", "AdamW"])
def test_steps_and_norms_equal_those_of_single_parameters(name):
    bundled, single = layers(), layers()
    start = copy.deepcopy(single.state_dict())
    bundles = Bundles(groups_for(name, bundled))
    optimizers = [named_optimizer(name, groups, 0.05, 0.1, {}) for groups in (bundles.groups, groups_for(name, single))]
    never = {"2.bias", "4.weight"}
    for step in range(3):
        for module in (bundled, single):
            set_gradients(module, step, never)
        bundles.gather()
        norms = [nn.utils.clip_grad_norm_(part, 2.0) for part in (bundles.wholes, list(single.parameters()))]
        torch.testing.assert_close(*norms)
        bundles.step(optimizers[0])
        optimizers[1].step()
    bundles.release()
    for key, value in bundled.state_dict().items():
        torch.testing.assert_close(value, single.state_dict()[key], msg=key)
        assert torch.equal(value, start[key]) == (key in never)
    assert len(bundles.wholes) == {"Muon": 3, "AdamW": 1}[name]


def own_memory(flow):
    return [p.untyped_storage().nbytes() == p.numel() * p.element_size() for p in flow.parameters()]


def test_parameters_are_views_in_training_alone():
    flow, during = small_flow(), []
    fit(flow, IMAGES, SHORT, callbacks=[At(2, lambda loop: during.extend(own_memory(loop.flow)))])
    assert not any(during)
    assert all(own_memory(flow))

    class Failing(Callback):
        def on_step(self, loop, metrics):
            raise KeyError("stop")

    flow = small_flow()
    with pytest.raises(KeyError):
        fit(flow, IMAGES, SHORT, callbacks=[Failing()])
    assert all(own_memory(flow))


def test_levels_are_frozen_and_released_on_the_way():
    flow, seen = small_flow(), {}
    flow.level(0).requires_grad_(False)

    def keep(loop):
        seen[loop.step] = [[p.detach().clone() for p in flow.level(level).parameters()] for level in (0, 1)]

    def exchange(loop):
        keep(loop)
        flow.level(0).requires_grad_(True)
        flow.level(1).requires_grad_(False)

    fit(flow, IMAGES, SHORT, callbacks=[At(1, keep), At(3, exchange), At(5, keep)])
    changed = [
        [not all(map(torch.equal, seen[first][level], seen[last][level])) for level in (0, 1)]
        for first, last in ((1, 3), (3, 5))
    ]
    assert changed == [[False, True], [True, False]]
