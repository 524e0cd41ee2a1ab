"""Parameters side by side in memory: steps are those of the parameters one by one."""

import copy

import pytest
import torch
from torch import nn

from mera.train import Callback, fit
from mera.train.bundles import Bundles
from mera.train.optimizers import named_optimizer
from tests.helpers.callbacks import At
from tests.helpers.training import IMAGES, SHORT, small_flow


def layers():
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Linear(9, 8), nn.LayerNorm((9, 9)), nn.Linear(9, 8), nn.PReLU()
    return nn.ModuleList([*parts, nn.Linear(2, 3)]).double()


def set_gradients(module, step, names):
    generator = torch.Generator().manual_seed(step)
    for name, parameter in module.named_parameters():
        gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad = gradient if name in names else None


@pytest.mark.parametrize("name", ["Muon", "AdamW"])
def test_steps_and_norms_equal_those_of_single_parameters(name):
    """Also of parameters that never have a gradient, and of those whose gradients come and go."""
    bundled, single = layers(), layers()
    start = copy.deepcopy(single.state_dict())
    optimizers = [named_optimizer(name, module, 0.05, 0.1, {}) for module in (bundled, single)]
    bundles, never, count = Bundles(optimizers[0]), {"2.bias", "4.weight"}, []
    everything = {key for key, _ in single.named_parameters()} - never
    sometimes = {"0.weight", "0.bias", "3.weight"}
    for step, names in enumerate([everything - sometimes] * 2 + [everything] * 2 + [everything - {"1.weight"}] * 2):
        for module in (bundled, single):
            set_gradients(module, step, names)
        bundles.gather()
        count.append(len(bundles.wholes))
        norms = [nn.utils.clip_grad_norm_(part, 2.0) for part in (bundles.wholes, list(single.parameters()))]
        torch.testing.assert_close(*norms)
        bundles.step()
        optimizers[1].step()
        if step == 2:  # as a run that is saved and resumed
            bundles.unbundle()
            optimizers[0].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    bundles.release()
    for key, value in bundled.state_dict().items():
        torch.testing.assert_close(value, single.state_dict()[key], msg=key)
        assert torch.equal(value, start[key]) == (key in never)
    states = [optimizer.state_dict() for optimizer in optimizers]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    assert states[0]["state"].keys() == states[1]["state"].keys()
    for index, own in states[1]["state"].items():
        for key, value in own.items():
            torch.testing.assert_close(states[0]["state"][index][key], value)
    assert count == {"Muon": [3, 3, 4, 4, 4, 4], "AdamW": [1, 1, 2, 2, 2, 2]}[name]


def own_memory(flow):
    return [p.untyped_storage().nbytes() == p.numel() * p.element_size() for p in flow.parameters()]


def test_parameters_are_views_in_training_alone(tmp_path):
    flow, during = small_flow(), []
    watch = At(2, lambda loop: during.extend(own_memory(loop.flow)))
    fit(flow, IMAGES, SHORT, tmp_path / "run", callbacks=[watch])  # a checkpoint at the last step
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
