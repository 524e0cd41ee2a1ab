"""Inpainting, on a flow whose conditional densities are known exactly."""

import io
import math
import re
import sys
from functools import partial

import pytest
import torch
from rich.console import Console
from torch import nn

import mera
from mera._utils.progress import ProgressBar
from mera.bijectors import Bijector
from mera.inpaint import posterior
from mera.inpaint.blocks import blocks_of
from mera.inpaint.posterior import Convergence, Stop, judged_quantities
from mera.inpaint.search import LatentSpace, climb, populate
from mera.inpaint.surface import biharmonic
from mera.sampling.diagnostics import MIXED, r_hat
from tests.helpers.laws import randomize


class Linear(Bijector):
    """A dense matrix: with a Gaussian prior, data are Gaussian."""

    def __init__(self, event_shape):
        super().__init__(event_shape)
        n = math.prod(event_shape)
        self.matrix = nn.Parameter(torch.eye(n, dtype=torch.float64) + 0.3 * torch.randn(n, n, dtype=torch.float64))

    def forward(self, x):
        return (x.flatten(1) @ self.matrix.T).view_as(x), self.matrix.slogdet().logabsdet.expand(len(x))

    def inverse(self, y):
        x = torch.linalg.solve(self.matrix, y.flatten(1).T).T
        return x.reshape(y.shape), -self.matrix.slogdet().logabsdet.expand(len(y))


def conditional(sites, masked):
    """A flow of 2 channels; an image; a mask; mean and covariance of the masked pixels given the rest."""
    layout = mera.Layout((sites,), 2)
    x = layout.input
    while x.shape[0] > 4:
        x = layout.local(x, Linear, kernel=4, offset=2)
        x, fine = layout.decimate(layout.local(x, Linear, kernel=4))
        layout.latent(fine)
    layout.latent(layout.local(x, Linear, kernel=4))
    flow = mera.Flow(layout, "gaussian")
    image = flow.sample(1)
    mask = torch.zeros(sites, dtype=torch.bool)
    mask[masked] = True
    jacobian = torch.autograd.functional.jacobian(
        lambda v: torch.cat([level.flatten() for level in flow(v.view(1, 2, sites))[0]]), image.flatten()
    )
    precision = jacobian.T @ jacobian
    hidden = mask.repeat(2)
    covariance = precision[hidden][:, hidden].inverse()
    mean = -covariance @ precision[hidden][:, ~hidden] @ image.flatten()[~hidden]
    return flow, image, mask, mean, covariance


@pytest.fixture
def gaussian():
    """On few sites, whose latents are all in the cone."""
    return conditional(16, [5, 6, 11])


@pytest.fixture
def wide():
    """With latents outside the cone."""
    return conditional(32, [5, 6, 7])


@pytest.mark.parametrize("options", [{}, {"draws": 7, "latents": 64}])
def test_the_likeliest_filling(wide, options):
    flow, image, mask, mean, _ = wide
    result = flow.inpaint(image, mask, steps=600, samples=0, **options)
    found = result.image[:, :, mask].flatten()
    torch.testing.assert_close(found, mean, atol=2e-3, rtol=0)
    assert torch.equal(result.image[:, :, ~mask], image[:, :, ~mask])
    torch.testing.assert_close(result.log_prob, flow.log_prob(result.image)[0])
    assert result.history.shape == (601,)
    assert result.log_prob == result.history.max()
    assert result.history[0] < result.history[-1]
    count = flow.inference_cone(mask).count
    assert count < 64
    assert result.varied == (64 if "latents" in options else count)


def test_samples_are_those_of_the_conditional_density(gaussian):
    flow, image, mask, mean, covariance = gaussian
    result = flow.inpaint(image, mask, samples=400, warmup=90, iterations=90, leapfrog=8, steps=20)
    assert result.samples.shape == (400, 2, 16)
    assert torch.equal(result.samples[:, :, ~mask], image[:, :, ~mask].expand(400, -1, -1))
    drawn = result.samples[:, :, mask].flatten(1)
    deviation = covariance.diagonal().sqrt()
    assert ((drawn.mean(0) - mean).abs() < 4 * deviation / 20).all()
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (drawn - mean).T, upper=False)
    assert (whitened.cov() - torch.eye(6)).abs().max() < 5 / math.sqrt(400)
    convergence = result.convergence
    assert convergence.draws == 36_000
    assert convergence.r_hat < 1.05
    assert 0.6 < convergence.acceptance < 1
    assert convergence.effective > 400
    assert str(convergence).startswith("the fillings have the right proportions: ")
    assert repr(result).startswith(f"Inpainting(log_prob={result.log_prob:.1f}, ")


def test_a_number_of_latents_moves_no_others(wide):
    flow, image, mask, *_ = wide
    local = flow.restrict(image, mask)
    space = LatentSpace(local, 20)
    assert 0 < len(space.chosen) < space.size == 20  # some of them are outside the cone
    moved = space.decode(space.base[:, space.chosen] + 1)
    row = space.base.clone()
    row[:, space.chosen] += 1
    sizes = [channels * n for channels, n in local.latent_shapes]
    levels = [part.view(1, *shape) for part, shape in zip(row.split(sizes, 1), local.latent_shapes, strict=True)]
    torch.testing.assert_close(moved, local.decode(levels))
    few, all_of_them = (flow.inpaint(image, mask, latents=n, steps=60, samples=0) for n in (3, 64))
    assert few.varied == 3
    assert few.log_prob < all_of_them.log_prob
    assert not torch.equal(few.image[:, :, mask], image[:, :, mask])


@pytest.mark.usefixtures("quick")
def test_the_same_seed_gives_the_same_filling_in_any_mode_of_torch():
    flow = randomize(mera.build("rgflow", L=8, channels=1, layers=1, hidden=(6,)), 0.1).float()
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[1:3, 2:4] = True
    x = torch.randn(1, 1, 8, 8)
    results = []
    for mode in (torch.no_grad, torch.inference_mode):
        torch.manual_seed(3)
        with mode():
            options = {"steps": 4, "warmup": 2, "iterations": 4, "leapfrog": 3}
            results.append(flow.inpaint(x.clone(), mask, samples=2, particles=8, **options))
    assert torch.equal(results[0].image, results[1].image)
    assert torch.equal(results[0].samples, results[1].samples)
    assert results[0].image.dtype == results[0].samples.dtype == torch.float32
    assert torch.equal(results[0].image[:, :, ~mask], x[:, :, ~mask])
    assert not results[0].image.requires_grad
    assert all(p.grad is None for p in flow.parameters())


def test_draws_and_starts_that_are_not_a_number_lose(gaussian, progress):
    flow, image, mask, *_ = gaussian
    local = flow.restrict(image, mask)

    class Sometimes(LatentSpace):
        def decode(self, values):
            return super().decode(torch.where(values[:, :1] > 0, torch.nan, values))

    class Never(LatentSpace):
        def decode(self, values):
            return super().decode(torch.full_like(values, torch.nan))

    space = Sometimes(local)
    with torch.no_grad():
        best = populate(space, 2, 25, 2, progress)
    assert local.log_prob(space.decode(best)).isfinite().all()
    with pytest.raises(ValueError, match="Expected a random filling of finite density; got none in 5 draws"):
        populate(Never(local), 1, 5, 0, progress)
    start = torch.stack([best[0], best[0].abs() + 1])
    found, log_prob, history = climb(lambda part: local.log_prob(space.decode(part)), start, 3, 0.01, progress, Stop())
    assert history.isfinite().all()
    assert log_prob.isfinite().tolist() == [True, False]
    assert space.decode(found[:1]).isfinite().all()


@pytest.mark.parametrize(("stage", "draws"), [("climb", 2), ("anneal", 2), ("start", 2), ("sample", 6)])
def test_a_request_to_stop_keeps_what_was_found(gaussian, monkeypatch, stage, draws):
    """Ctrl-C in the climb, in the annealing, before the first step of the chains, and in their third draw."""
    flow, image, mask, *_ = gaussian
    update = ProgressBar.update

    def refused(*_):
        raise KeyboardInterrupt

    def interrupted(bar, step, *values):
        if stage != "start" and bar.title.startswith(stage) and step == {"anneal": 1, "sample": 4, "climb": 2}[stage]:
            raise KeyboardInterrupt
        update(bar, step, *values)

    monkeypatch.setattr(ProgressBar, "update", interrupted)
    if stage == "anneal":
        prefer_samples(monkeypatch)
    if stage == "start":
        monkeypatch.setattr(posterior, "HamiltonianChains", refused)
    result = flow.inpaint(image, mask, samples=2, warmup=1, iterations=4, steps=5, leapfrog=2)
    assert result.stopped
    if stage != "sample":
        assert result.convergence is None  # nothing was drawn
        assert len(result.samples) == draws
    else:
        assert result.convergence.draws == draws
        assert not result.convergence.mixed
    assert torch.equal(result.image[:, :, ~mask], image[:, :, ~mask])
    torch.testing.assert_close(result.log_prob, flow.log_prob(result.image)[0])
    assert result.history.isfinite().all()


@pytest.mark.usefixtures("quick")
def test_chains_start_where_a_metric_is_almost_flat():
    flow = randomize(mera.build("rgflow", L=8, channels=1, hidden=(6,), layers=1), 0.3).float()
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[1:4, 2:5] = True
    far = 40 * torch.randn(1, 1, 8, 8)  # nothing that the flow could know
    result = flow.inpaint(far, mask, steps=2, samples=2, warmup=4, iterations=4, leapfrog=2, particles=8)
    assert result.samples.isfinite().all()


def test_a_field_flow_can_be_inpainted():
    flow = randomize(mera.build("realnvp", L=8, hidden=(4,), layers=1, residual_blocks=1), 0.05)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[3, 3] = True
    result = flow.inpaint(torch.randn(1, 3, 8, 8, dtype=torch.float64), mask, draws=10, steps=5, samples=0)
    assert result.varied == 3 * 64
    assert result.log_prob.isfinite()


def test_progress_is_shown_where_it_is_asked_for(gaussian):
    flow, image, mask, *_ = gaussian
    console = Console(record=True, width=200, file=io.StringIO())
    flow.inpaint(image, mask, steps=3, samples=2, warmup=2, iterations=4, leapfrog=2, console=console)
    text = console.export_text()
    assert "climb 100%" in text
    assert "sample 100%  step 6" in text
    flow.inpaint(image, mask, steps=1, draws=8, sweeps=3, samples=0, console=console)
    assert re.search(r"compete 100%  step \d+, log p", console.export_text())


@pytest.mark.slow
def test_chains_of_many_variables_that_mixed_count_as_mixed():
    """200 runs of 4 chains of an autoregressive process with 300 variables; the largest R-hat refuses nearly all."""
    n, runs, rho = 200, 60, math.exp(-1 / 2)
    x, chains = torch.randn(runs, 4, 300), []
    for _ in range(n):
        x = rho * x + math.sqrt(1 - rho**2) * torch.randn_like(x)
        chains.append(x)
    chains = torch.stack(chains, 1)
    r_hats = [r_hat(judged_quantities(run, -run.square().sum(2) / 2)).max() for run in chains]
    refused = (torch.stack(r_hats) >= MIXED).double().mean()
    of_all = torch.stack([r_hat(run).max() for run in chains[:10]])
    assert refused < 0.1
    assert (of_all >= MIXED).double().mean() > 0.8
    shifted = chains[0] + 1.5 * torch.tensor([0.0, 0.0, 1.0, 1.0])[:, None]  # two modes, each with two chains
    assert r_hat(judged_quantities(shifted, -chains[0].square().sum(2) / 2)).max() > 1.2


def test_competition_finds_likelier_fillings_than_chance(gaussian, progress):
    flow, image, mask, *_ = gaussian
    local = flow.restrict(image, mask)
    space = LatentSpace(local)
    found = {}
    for sweeps in (0, 4):
        torch.manual_seed(0)
        with torch.no_grad():
            values = populate(space, 4, 32, sweeps, progress)
            found[sweeps] = local.log_prob(space.decode(values))
        assert values.shape == (4, len(space.chosen))
        assert (found[sweeps].diff() <= 0).all()  # the likeliest first
    assert found[4].min() > found[0].max()
    assert len(values.unique(dim=0)) == 4  # groups do not mix


def test_the_levels_of_coordinates_are_those_of_the_latents(gaussian):
    flow, image, mask, *_ = gaussian
    local = flow.restrict(image, mask)
    space = LatentSpace(local)
    counts = torch.bincount(space.levels, minlength=len(local.latent_shapes)).tolist()
    channels = [shape[0] for shape in local.latent_shapes]
    assert counts == [int(level.sum()) * c for level, c in zip(local.cone.levels, channels, strict=True)]


def prefer_samples(monkeypatch):
    """Let the Gaussian that is learnt from samples be the better one."""
    bounds = iter([0.0, 1.0])
    module = sys.modules["mera.inpaint.inpaint"]
    monkeypatch.setattr(module, "scaled", lambda gaussian, *_, **__: (gaussian, next(bounds)))


@pytest.mark.parametrize("learnt", [False, True])
def test_chains_start_at_draws_of_either_gaussian(gaussian, monkeypatch, learnt):
    """Both are nearly exact here, so that one draw of each chain has the right mean and deviations."""
    flow, image, mask, mean, covariance = gaussian
    if learnt:
        prefer_samples(monkeypatch)
    draws = flow.inpaint(image, mask, samples=400, particles=400, warmup=0, iterations=4, steps=60).samples
    drawn = draws[:, :, mask].flatten(1)
    deviation = covariance.diagonal().sqrt()
    assert ((drawn.mean(0) - mean).abs() < (0.3 if learnt else 0.25) * deviation).all()
    assert torch.allclose(drawn.std(0), deviation, rtol=0.25)


def test_what_is_kept(gaussian):
    flow, image, mask, mean, _ = gaussian
    kept = {}
    for keep in ("draw", "mean", "likeliest"):
        torch.manual_seed(0)
        result = flow.inpaint(image, mask, samples=4, warmup=4, iterations=6, steps=60, keep=keep)
        torch.testing.assert_close(result.log_prob, flow.log_prob(result.image)[0])
        assert (result.kept, result.plausible) == (keep, True)
        kept[keep] = result.image
    assert torch.equal(kept["likeliest"], result.likeliest)
    torch.testing.assert_close(kept["likeliest"][:, :, mask].flatten(), mean, atol=2e-2, rtol=0)
    torch.testing.assert_close(kept["mean"], result.draws.mean(0, keepdim=True))
    assert (result.draws == kept["draw"]).flatten(1).all(1).any()
    with pytest.raises(ValueError, match="Expected samples for keep='mean'; got samples=0"):
        flow.inpaint(image, mask, samples=0, keep="mean")
    with pytest.raises(ValueError, match="Expected a kind of filling among"):
        flow.inpaint(image, mask, keep="middle")


def test_a_filling_far_less_likely_than_the_surface_is_not_kept(gaussian, monkeypatch):
    flow, image, mask, mean, covariance = gaussian
    surface = biharmonic(image, mask, flow.plan.input)
    exact = image.clone()
    exact[:, :, mask] = mean.view(1, 2, -1)
    monkeypatch.setattr(sys.modules["mera.inpaint.inpaint"], "biharmonic", lambda *_: exact)
    result = flow.inpaint(image, mask, samples=4, warmup=10, iterations=16)
    assert result.plausible  # draws are 3 nats below the likeliest
    far = lambda *_: (exact[:, :, mask].flatten(1) + 20 * covariance.diagonal().sqrt()).expand(4, -1)  # noqa: E731
    monkeypatch.setattr(posterior, "HamiltonianChains", None)
    module = sys.modules["mera.inpaint.inpaint"]
    monkeypatch.setattr(module, "hmc", lambda log_prob, *_: (far()[None], log_prob(far())[None], 0.0))
    monkeypatch.setattr(module, "convergence_of", lambda *_: None)
    result = flow.inpaint(image, mask, samples=4, steps=0)
    assert (result.kept, result.plausible) == ("surface", False)
    assert torch.equal(result.image, exact)
    torch.testing.assert_close(result.log_prob, flow.log_prob(exact)[0])
    assert "implausible: the surface is kept" in repr(result)
    assert not torch.equal(surface, exact)


def test_the_filling_is_the_medoid_of_the_draws(gaussian):
    flow, image, mask, *_ = gaussian
    torch.manual_seed(0)
    result = flow.inpaint(image, mask, steps=2, samples=3, warmup=2, iterations=22, leapfrog=2)
    draws = result.draws
    assert len(draws) >= 60
    assert torch.equal(draws[-3:], result.samples)
    assert torch.equal(draws[:, :, ~mask], image[:, :, ~mask].expand(len(draws), -1, -1))
    many = flow.inpaint(image, mask, steps=1, samples=66, warmup=1, iterations=4, leapfrog=1)
    assert torch.equal(many.draws[-66:], many.samples)
    distances = (draws[:, None] - draws[None]).flatten(2).norm(dim=2).sum(1)
    assert torch.equal(result.image[0], draws[distances.argmin()])
    torch.testing.assert_close(result.log_prob, flow.log_prob(result.image)[0])
    torch.testing.assert_close(result.history.max(), flow.log_prob(result.likeliest)[0])


def test_pictures_of_an_inpainting():
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=8, channels=1, layers=1, hidden=(8,))
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 3:6] = True
    result = flow.inpaint(flow.sample(1), mask, steps=2, samples=2, particles=0, warmup=1, iterations=4, leapfrog=2)
    names = list(result.pictures)
    spread = names.pop(4)
    assert names == ["the image", "likeliest", "draw", "mean", "sample 1", "sample 2"]
    assert spread.startswith("spread, 0.")
    assert all(image.dtype == torch.uint8 and image.shape == (1, 8, 8) for image in result.pictures.values())
    assert (result.pictures[spread][:, ~mask] == 0).all()
    for name in ("likeliest", "draw", "mean", "sample 1"):
        assert torch.equal(result.pictures[name][:, ~mask], result.pictures["the image"][:, ~mask])
    assert result._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(("r_hat", "effective", "chains", "words"), [
    (1.01, 40.0, 4, "right proportions: R-hat is 1.01; 100 draws, of which 40 are independent"),
    (1.2, 40.0, 4, "possible fillings, not in the right proportions: the chains do not agree yet (R-hat 1.20)"),
    (1.01, 40.0, 1, "too few draws to tell: a single chain cannot show"),
    (1.01, 12.0, 4, "too few draws to tell: fewer than 20 draws are independent"),
    (1.09, 40.0, 4, "too few draws to tell: R-hat is 1.09, and chance alone makes it up to 1.10"),
])  # fmt: skip
def test_what_counts_as_mixed(r_hat, effective, chains, words):
    found = Convergence(0.9, r_hat, effective, 100, chains, 1.1)
    assert found.mixed == words.startswith("right")
    assert words in str(found)


def test_large_holes_are_filled_in_blocks(monkeypatch):
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=16, channels=1, layers=1, hidden=(8,))
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:11, 3:9] = True
    mask[2, 3] = False
    parts = blocks_of(mask, 1, 16)
    assert torch.equal(sum(part.int() for part in parts), mask.int())
    assert [int(part.sum()) for part in parts] == [8, 9, 9, 9, 9, 9]  # the two in the middle come last
    assert sorted(tuple(part.nonzero().amin(0).tolist()) for part in parts[-2:]) == [(5, 3), (5, 6)]
    module = sys.modules["mera.inpaint.inpaint"]
    monkeypatch.setattr(module, "TOGETHER", 30)
    monkeypatch.setattr(module, "blocks_of", partial(blocks_of, variables=25))
    x, shown = flow.sample(1), io.StringIO()
    console = Console(file=shown, width=300)
    short = {"samples": 2, "particles": 0, "warmup": 2, "iterations": 4, "leapfrog": 2, "steps": 3}
    result = flow.inpaint(x, mask, console=console, **short)
    assert "filling 4 blocks of about 14 variables, in turn: about 10 s and 0.6 GB" in shown.getvalue()
    assert (result.blocks, result.samples, result.stopped) == (4, None, False)
    assert torch.equal(result.image[..., ~mask], x[..., ~mask])
    assert (result.image[..., mask] != x[..., mask]).all()
    assert result.log_prob == pytest.approx(flow.log_prob(result.image).item(), abs=1e-3)
    assert "filled in 4 blocks in turn" in repr(result)
    monkeypatch.setattr(module, "MAX_HIDDEN", 40)
    with pytest.raises(ValueError, match=r"at most 40 masked pixels .*; got 53"):
        flow.inpaint(x, mask, **short)
