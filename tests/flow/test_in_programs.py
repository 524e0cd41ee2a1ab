"""Flows inside programs of others: a plate of Pyro, the prior of an autoencoder, Hamiltonian chains of latents."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

import mera
from mera import physics

EVENT = (1, 4, 4)


def small(**options):
    return mera.build("rgflow", L=4, m=2, channels=1, hidden=(8,), norm=False, **{"prior": "gaussian", **options})


@pytest.mark.slow
def test_a_field_in_a_plate_of_pyro():
    """Variational inference of 30 fields below noise: posterior means are between the data and the flow's mean, 0."""
    pyro = pytest.importorskip("pyro")
    infer, mixin = pyro.infer, pyro.distributions.torch_distribution.TorchDistributionMixin

    class Fields(mera.FlowDistribution, mixin):
        """A flow for Pyro."""

    flow, data = small(), 1 + torch.randn(30, *EVENT)  # the identity: a flow of standard normals

    def model(data):
        with pyro.plate("data", len(data)):
            z = pyro.sample("z", Fields(flow))
            pyro.sample("x", pyro.distributions.Normal(z, 0.5).to_event(3), obs=data)

    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    guide = infer.autoguide.AutoNormal(model)
    svi = infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), infer.TraceMeanField_ELBO())
    losses = [svi.step(data) for _ in range(200)]
    assert losses[-1] < losses[0] / 2
    posterior = guide.median(data)["z"]
    assert posterior.shape == data.shape
    assert (posterior - 0.8 * data).abs().mean() < 0.1  # 1 / (1 + 0.5^2)


def test_the_prior_of_an_autoencoder():
    """All three networks learn from one loss, in which the flow stands for the density of latents."""
    data = torch.randn(64, 2) @ torch.randn(2, 8) + 0.1 * torch.randn(64, 8)
    encoder, decoder, flow = nn.Linear(8, 32), nn.Linear(16, 8), small()
    networks = nn.ModuleList([encoder, decoder, flow])
    optimizer = torch.optim.Adam(networks.parameters(), lr=1e-2)
    losses = []
    for _ in range(100):
        mean, log_scale = encoder(data).unflatten(1, (2, *EVENT)).unbind(1)
        q = Independent(Normal(mean, log_scale.exp()), 3)
        z = q.rsample()
        divergence = q.log_prob(z) - flow.distribution().log_prob(z)
        x = Independent(Normal(decoder(z.flatten(1)), 0.5), 1)
        losses.append((divergence - x.log_prob(data)).mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 5
    assert all(parameter.grad is not None for parameter in networks.parameters())


@pytest.mark.slow
def test_hamiltonian_chains_of_latents():
    """NeuTra (Hoffman et al. 2019): a Phi^4 field on two sites has the moments of a quadrature; HMC moves latents."""
    action = physics.Phi4(mass2=-3.0, coupling=1.0)
    flow = mera.build("rgflow", L=2, m=2, dim=1, channels=1, hidden=(8,), norm=False, prior="gaussian").double()
    mera.train.fit(flow, action, steps=150, lr=1e-2, batch_size=64, check=False, quiet=True)
    moments = {"site": lambda x: x[:, 0, 0].square(), "link": lambda x: x[:, 0, 0] * x[:, 0, 1]}

    def latent_action(t):  # -ln of the density of latents, e^{-S(x)} |dx / dz|
        x, log_det = flow.inverse(flow.from_lattice(t))
        return action(x) - log_det

    pulled_back = {
        name: lambda t, moment=moment: moment(flow.inverse(flow.from_lattice(t))[0]) for name, moment in moments.items()
    }
    report = physics.hmc((1, 2), latent_action, chains=16, draws=150, warmup=50, observables=pulled_back)
    axis = torch.linspace(-5, 5, 201, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    weights = (-action(grid)).softmax(0)
    for name, moment in moments.items():
        value, error = report.observables[name]
        expected = (weights * moment(grid)).sum().item()
        assert error < 0.08 * expected
        assert abs(value - expected) < 3 * error
