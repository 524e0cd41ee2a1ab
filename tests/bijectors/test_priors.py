"""Densities and temperatures of the latents, against closed forms and statistics."""

import math
import pickle

import pytest
import torch
from torch import distributions

import mera
from mera import Prior

N = 200_000


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_unit_variance(name):
    assert Prior(name).distribution.variance.item() == pytest.approx(1, abs=1e-15)
    (z,) = Prior(name).sample([(N, 1)], [1.0], torch.empty(0))
    assert z.var().item() == pytest.approx(1, abs=0.02)
    assert z.dtype == torch.float32


@pytest.mark.parametrize("temperature", [0.25, 0.6, 2.0])
@pytest.mark.parametrize(
    "name", ["gaussian", "laplace", "StudentT(df=5, scale=0.5)", "VonMises(0.3, 2)", "Uniform(-1, 2)"]
)
def test_a_tempered_sample_has_the_density_to_the_power(name, temperature):
    """p^(1/T) is known up to its norm; its histogram must follow it (Eq. 12)."""
    prior = Prior(name)
    (z,) = prior.sample([(N, 1)], [temperature], torch.empty(0, dtype=torch.float64))
    edges = torch.linspace(-2, 2, 9, dtype=torch.float64)
    grid = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    density = torch.exp(prior.log_density(grid) / temperature)
    cumulative = torch.cumsum(density, 0) / density.sum()
    expected = cumulative[torch.searchsorted(grid, edges)]
    measured = torch.stack([(z <= edge).double().mean() for edge in edges])
    torch.testing.assert_close(measured, expected, atol=5 * 0.5 / math.sqrt(N), rtol=0)  # five standard errors at most


@pytest.mark.parametrize("name", ["gaussian", "laplace", "Uniform(-1, 2)", "VonMises(0, 1)", "StudentT(df=5)"])
def test_quantiles(name):
    """Those that torch has: the inverse of the cumulative distribution at a temperature."""
    prior, p = Prior(name), torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    if prior.family in ("VonMises", "StudentT"):
        with pytest.raises(ValueError, match=f"a quantile function .*; got {prior.family}"):
            prior.quantile(1.0)
        return
    (z,) = prior.sample([(N, 1)], [0.5], p)
    expected = prior.quantile(0.5)(p)
    step = 1e-4
    slope = (prior.quantile(0.5)(p + step) - prior.quantile(0.5)(p - step)) / (2 * step)
    error = (p * (1 - p) / N).sqrt() * slope  # the standard error of a quantile of N draws
    assert ((z.quantile(p) - expected).abs() < 5 * error).all()


def test_levels_have_temperatures_and_their_log_densities_add_up():
    z = Prior("gaussian").sample([(N, 1), (N, 2)], [0.04, 0.36], torch.empty(0))
    for level, deviation in zip(z, (0.2, 0.6), strict=True):
        assert level.std().item() == pytest.approx(deviation, rel=0.02)
    expected = sum(distributions.Normal(0, 1).log_prob(level).flatten(1).sum(1) for level in z)
    torch.testing.assert_close(Prior("gaussian").log_prob(z), expected)


@pytest.mark.parametrize("distribution", ["gaussian", "laplace", distributions.StudentT(3.3, 1.0, 0.7)])
def test_a_prior_is_copied_and_converted_exactly(distribution):
    prior = Prior(distribution)
    z = [torch.randn(7, 3, dtype=torch.float64)]
    expected = prior.log_prob(z)
    others = Prior(prior.describe()), pickle.loads(pickle.dumps(prior)), Prior(distribution).to_empty(device="cpu")
    for other in (*others, prior.bfloat16().double()):
        assert torch.equal(other.log_prob(z), expected)


class Unsaid(distributions.Normal):
    """A density of a user's own, which may have any values."""


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        ("cauchy", "Expected 'gaussian', 'laplace', or one of Normal, .* as prior; got 'cauchy'"),
        (3, "Expected 'gaussian', 'laplace', or one of"),
        ("Norml", "got 'Norml' .did you mean 'Normal'"),
        (distributions.Normal(torch.zeros(2), torch.ones(2)), "Expected loc as a finite number"),
        (distributions.Bernoulli(0.5), "Expected 'gaussian', 'laplace', or one of"),
        (Unsaid(0.0, 1.0), "Expected 'gaussian', 'laplace', or one of"),
        (distributions.Normal(0.0, -1.0, validate_args=False), "Expected scale as a positive number"),
        ("Normal(loc=a)", "Expected loc as a finite number"),
        ("Normal(mean=0.0)", "Expected parameters loc, scale of Normal; got mean"),
        ("StudentT", "Expected parameters df, loc, scale of StudentT; got none"),
        ("Normal(0, 1, 7)", "Expected parameters loc, scale of Normal, once each"),
        ("Normal(0, loc=5)", "Expected parameters loc, scale of Normal, once each"),
        ("Uniform(1, 1)", "Expected low below high; got 1 and 1"),
    ],
)
def test_bad_priors(distribution, message):
    with pytest.raises(ValueError, match=message):
        Prior(distribution)


@pytest.mark.parametrize("distribution", ["Uniform(0, 1)", "Uniform(-1, -0.2)", "VonMises(0, 1)"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_outside_of_the_support(distribution, dtype):
    """Some of torch's formulas give finite numbers, or NaN, where there is no density."""
    prior, outside = Prior(distribution), torch.full((1, 1), -5.0, dtype=dtype)
    (inside,) = prior.sample([(20, 1)], [1.0], outside)
    assert prior.log_prob([outside]).item() == -math.inf
    torch.testing.assert_close(prior.log_prob([inside]), prior.distribution.log_prob(inside)[:, 0].to(dtype))
    both = torch.cat([inside, outside]).requires_grad_()
    (gradient,) = torch.autograd.grad(prior.log_prob([both])[:20].sum() + 0 * both.sum(), both)
    assert gradient.isfinite().all()


def test_a_temperature_without_a_norm_is_refused():
    with pytest.raises(ValueError, match=r"a temperature below 4, where p\^\(1/T\) has a norm; got 4"):
        Prior("StudentT(df=3)").sample([(5, 2)], [4.0], torch.empty(0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Normal", distributions.Normal(0.0, 1.0)),
        ("Normal(1, 2)", distributions.Normal(1.0, 2.0)),
        ("StudentT(4)", distributions.StudentT(4.0)),
        ("StudentT(df=4, scale=.5)", distributions.StudentT(4.0, scale=0.5)),
        ("VonMises(0, concentration=2)", distributions.VonMises(0.0, 2.0)),
    ],
)
def test_priors_as_text(text, expected, tmp_path):
    x = torch.tensor([0.1, 0.7])
    torch.testing.assert_close(Prior(text).distribution.log_prob(x).float(), expected.log_prob(x))
    flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), prior=text)
    mera.save(flow, tmp_path / "flow")
    assert repr(mera.load(tmp_path / "flow").prior) == repr(flow.prior)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_samples_stay_below_the_bound(dtype):
    """Which rounding may reach, where the density is 0."""
    prior = mera.Prior("Uniform(low=0, high=1)")
    torch.manual_seed(0)
    (samples,) = prior.sample([(200_000,)], [1.0], torch.empty(0, dtype=dtype))
    assert samples.max() < 1
    assert prior.log_density(samples.double()).isfinite().all()
