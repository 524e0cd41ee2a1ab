"""Learning from an action: the estimator of its gradient, the engine, and what is refused."""

import copy
import math
from functools import partial

import pytest
import torch

import mera
from mera.bijectors import ActNorm
from mera.physics import DoubleWell, FreeField, Phi4
from mera.physics.action import as_action
from mera.physics.flow_samplers import target_of_flow
from mera.physics.target import Target
from mera.train import fit
from mera.train.reverse_kl import ReverseKL

SHORT = {"batch_size": 8, "eval_every": 2, "eval_images": 20, "warmup": 2}


def small_flow(L=4, symmetrized=False, **options):
    torch.manual_seed(3)
    options = {"m": 2, "layers": 2, "hidden": (8,), "norm": False, "prior": "gaussian"} | options
    flow = mera.build("rgflow", L=L, channels=1, **options).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return mera.Symmetrized(flow) if symmetrized else flow


def learn(flow, action):
    return ReverseKL(flow, Target.of(flow, action))


def total(flow, action, noise):
    """The plain loss, whose gradient is through samples and density."""
    x, log_q = flow.generate_with_log_prob(noise)
    return (log_q + action(x)) / 16


def gradients(flow, loss, noise, n=1):
    """The gradients of the mean loss of batches of n samples, (batches, parameters)."""
    rows = []
    for part in zip(*(tensor.split(n) for tensor in noise), strict=True):
        mean = loss(part).mean()
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(mean, list(flow.parameters()))]))
    return torch.stack(rows)


def gradients_of_both(flow, action, noise, n=1):
    """Those of the loss of training, which are through samples alone, and those of the plain loss."""
    path = partial(learn(flow, action).loss, flow)
    return gradients(flow, path, noise, n), gradients(flow, partial(total, flow, action), noise, n)


def draws(flow, n):
    return learn(flow, FreeField(1.0)).batch(0, 1, range(n))


@pytest.mark.parametrize("symmetrized", [False, True])
def test_estimators_have_one_mean(symmetrized):
    """They differ from the total gradient by terms of mean zero, which span about five dimensions here."""
    flow, action = small_flow(symmetrized=symmetrized), Phi4(0.5, 0.3)
    noise = draws(flow, 1600)
    path, plain = gradients_of_both(flow, action, noise, 50)
    difference = path - plain
    z = difference.mean(0) / (difference.std(0) / math.sqrt(len(difference)))
    assert difference.abs().max() > 1e-3  # they are different estimators
    assert z.square().mean() < 4


def test_the_path_gradient_has_no_noise_where_the_flow_is_exact():
    flow = small_flow()
    noise = draws(flow, 5)
    exact = copy.deepcopy(flow).requires_grad_(False)

    def action(phi):
        return -exact.log_prob(phi)

    path, plain = gradients_of_both(flow, action, noise)
    assert path.abs().max() < 1e-12
    assert plain.abs().max() > 1e-3


@pytest.mark.parametrize("symmetrized", [False, True])
def test_the_value_of_the_loss(symmetrized):
    """It is that of ln q + S, with and without gradients."""
    flow, action = small_flow(symmetrized=symmetrized), Phi4(0.5, 0.3)
    noise = draws(flow, 6)
    objective = learn(flow, action)
    x, _ = objective.data(flow, noise)
    expected = (flow.log_prob(x) + action(x)) / 16
    torch.testing.assert_close(objective.loss(flow, noise), expected)
    with torch.no_grad():
        torch.testing.assert_close(objective.loss(flow, noise), expected)


def test_draws_are_functions_of_seed_step_and_row():
    flow = small_flow()
    objective = learn(flow, FreeField(1.0))
    whole, part, later = (
        torch.cat([level.flatten(1) for level in objective.batch(5, step, rows)], dim=1)
        for step, rows in ((3, range(40)), (3, range(17, 29)), (4, range(1)))
    )
    torch.testing.assert_close(part, whole[17:29], rtol=0, atol=0)
    assert not torch.equal(later, whole[:1])
    assert whole.mean().abs() < 0.2
    assert 0.8 < whole.std() < 1.2


@pytest.mark.slow
def test_a_free_field_is_learnt():
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=4, m=4, channels=1, layers=2, hidden=(32,), norm=False, prior="gaussian")
    result = fit(flow, FreeField(1.25), steps=300, lr=5e-3, batch_size=64, eval_every=300, eval_images=2000)
    last = result.history.metrics[-1]
    assert last["ess"] > 0.8
    assert last["free_energy"] == pytest.approx(16 * last["test_nats"])
    assert -last["free_energy"] < FreeField(1.25).log_z((4, 4)) + 0.05


def test_normalisation_layers_start():
    flow = small_flow(norm=True)
    layers = [module for module in flow.modules() if isinstance(module, ActNorm)]
    assert not any(layer.initialized for layer in layers)
    fit(flow, FreeField(1.0), steps=2, **SHORT)
    assert all(layer.initialized for layer in layers)
    assert all(layer.log_scale.abs().max() > 0.05 for layer in layers)


class Energy(torch.nn.Module):
    """An action that is a module, as learnt energies are."""

    def forward(self, phi):
        return phi.square().flatten(1).sum(1)


def test_what_needs_examples_is_refused_and_bounded_actions_are_not():
    for options, name in (({"loss": lambda flow, x: x.sum()}, "loss"), ({"keep": "best"}, 'keep="best"')):
        with pytest.raises(ValueError, match=f"An action has no examples, and takes no {name}"):
            fit(small_flow(), FreeField(1.0), steps=1, **options)
    for bounded in (DoubleWell(4.0, 1000.0), Phi4(-1.0, 1e-7), torch.nn.Sequential(Energy())):
        assert target_of_flow(small_flow(), bounded).action.channels in (1, None)


class Deaf(Energy):
    """An energy with a parameter that has a gradient, where the field has none."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, phi):
        return self.scale * super().forward(phi.detach())


WITHOUT_GRADIENT = {
    "detached": lambda phi: Energy()(phi.detach()),
    "numpy": lambda phi: torch.from_numpy((phi.detach().numpy() ** 2).reshape(len(phi), -1).sum(1)),
    "no_grad": torch.no_grad()(Energy()),
    "module": Deaf(),
}


@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_an_action_without_a_gradient_is_refused(name, tmp_path):
    """The value of ln q + S has a gradient by ln q alone, from which the flow would learn to spread without end."""
    action = WITHOUT_GRADIENT[name]
    assert torch.equal(as_action(action)(torch.full((1, 1, 4, 4), 2.0)), torch.tensor([64.0]))
    with pytest.raises(ValueError, match="an action with a gradient, computed by operations of torch on the field"):
        fit(small_flow(), action, run=tmp_path / "run", steps=1, **SHORT)
    assert not (tmp_path / "run").exists()


def test_layers_that_start_from_the_action():
    """A spectral layer starts from fields of the action, and a free field is then exact up to their noise."""
    action = FreeField(1.25)
    flow = small_flow(spectral=True)
    fit(flow, action, steps=1, lr=1e-9, batch_size=8, eval_every=1, eval_images=20)
    layer = flow.bijectors["spectral"]
    exact = action.eigenvalues((4, 4))[:3, :3].log() / 2
    assert layer.initialized
    torch.testing.assert_close(layer.log_scale[0], exact, atol=0.06, rtol=0)  # of 2,048 fields, up to 1.6 % a mode
    assert exact.max() - exact.min() > 0.8
