"""Analyses of a flow against autograd's Jacobians, against log_prob, and against cases that are known."""

import math
import pickle

import numpy as np
import pytest
import torch

import mera
from mera import analysis
from mera.analysis.receptive import derivatives
from mera.bijectors import ActNorm
from tests.helpers.laws import randomize
from tests.tables.models import CONDITIONAL, MODELS, batch, contexts

LINEARIZED = [
    "rgflow", "rgflow-paper", "rgflow-open", "rgflow-1d-open", "rgflow-3d-box-open", "neuralrg-1d", "tree",
    "tebd-open-3d", "realnvp-periodic", "glow-1d", "wavelet-1d",
]  # fmt: skip
SAMPLES = 2


def latents_of_level(plan, level):
    """All latents of a level, ordered by channel and then by site."""
    return [(level, *place) for place in np.ndindex(plan.latents[level].lattice.event_shape)]


def some_latents(plan):
    """Some latents of each level, the first and the last among them."""
    found = []
    for level in range(len(plan.latents)):
        latents = latents_of_level(plan, level)
        found += [latents[int(i)] for i in torch.linspace(0, len(latents) - 1, min(3, len(latents)))]
    return found


def mean_jacobians(flow, latents, z, context):
    """The mean over samples of autograd's Jacobian, for each latent."""
    fields = torch.zeros(len(latents), *flow.plan.input.event_shape, dtype=torch.float64)
    for s in range(SAMPLES):
        one = None if context is None else context[s : s + 1]
        z_s = tuple(level[s : s + 1] for level in z)
        jacobian = torch.autograd.functional.jacobian(lambda *z, one=one: flow.inverse(z, one)[0][0], z_s)
        for row, (level, *place) in enumerate(latents):
            fields[row] += jacobian[level][(..., 0, *place)] / SAMPLES
    return fields


@pytest.mark.parametrize(("models", "name"), [
    *((MODELS, name) for name in LINEARIZED),
    *((CONDITIONAL, name) for name in ("rgflow-per-pixel", "rgflow-classes", "glow")),
])  # fmt: skip
def test_receptive_fields_are_mean_jacobians(models, name):
    flow = randomize(models[name](), 0.2)
    context = contexts(flow, SAMPLES) if models is CONDITIONAL else None
    latents = some_latents(flow.plan)
    torch.manual_seed(0)
    fields = analysis.receptive_fields(flow, latents, SAMPLES, context=context)
    torch.manual_seed(0)
    expected = mean_jacobians(flow, latents, flow.sample_latents(SAMPLES), context)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(fields, expected, atol=1e-8, rtol=1e-10)
    for field, (level, _, *site) in zip(fields, latents, strict=True):
        outside = ~flow.generation_cone(level, site).pixels
        assert not field[:, outside].any()


def test_medians_of_receptive_fields_and_parts_of_the_computation(monkeypatch):
    """With three samples the median is the middle one of the fields of single samples, latent by latent."""
    monkeypatch.setattr("mera.analysis.receptive.MAX_VARIABLES", 1)
    monkeypatch.setattr("mera.analysis.receptive.MAX_DERIVATIVES", 1)
    flow = randomize(MODELS["rgflow-open"](), 0.2)
    latents = some_latents(flow.plan)[::4]
    torch.manual_seed(0)
    z = flow.sample_latents(3)
    single = torch.stack([mean_jacobians(flow, latents, [v[[i] * SAMPLES] for v in z], None) for i in range(3)])
    torch.manual_seed(0)
    found = analysis.receptive_fields(flow, latents, 3, median=True)
    torch.testing.assert_close(found, single.median(0).values, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("name", ["rgflow-open", "rgflow-1d", "glow"])
def test_strengths_from_backward_passes_are_geometric_means_of_norms(name):
    """The estimate agrees with exact norms of other samples, and its errors are honest."""
    flow = randomize(MODELS[name](), 0.2)
    level = len(flow.plan.latents) - 1
    (norms,), (errors,) = (found := analysis.strengths(flow, 2000, levels=[level])), found.errors
    z = flow.sample_latents(400)
    logs = derivatives(flow, latents_of_level(flow.plan, level), z).norm(dim=2).log()
    exact, error = logs.mean(1).exp(), logs.std(1) / 20
    distance = (norms.flatten() - exact) / (errors.flatten().square() + (exact * error).square()).sqrt()
    assert 0.4 < distance.square().mean().sqrt() < 1.7
    assert (errors < 0.1 * norms).all()


def test_latents_that_are_alike_share_a_strength():
    """All latents of a channel at equal places in a patch; not those that a coarser level treats differently."""
    layout = mera.Layout((16,), 1)
    coarse, details = layout.decimate(
        layout.local(layout.input, {"name": "coupling", "layers": 1, "hidden": (4,)}, kernel=4)
    )
    layout.latent(details, name="fine")
    layout.latent(layout.local(coarse, ActNorm, kernel=8), name="coarse")
    flow = randomize(mera.Flow(layout), 0.3)
    fine, coarse = analysis.strengths(flow, 500)
    assert torch.equal(fine[0], fine[0, :2].repeat(4))
    assert len(coarse.unique()) == 8
    assert [latent[2] for latent in analysis.leading(flow, 0, 8, samples=500)] in ([4, 3], [4, 5], [3, 4], [5, 4])


def test_a_latent_without_effect_has_no_strength():
    class Half(ActNorm):
        def inverse(self, y, context=None):
            return y * y.new_tensor([1.0, 0.0]), y.new_zeros(len(y))

    layout = mera.Layout((2,), 1)
    layout.latent(layout.local(layout.input, Half, kernel=2))
    found = analysis.strengths(mera.Flow(layout), 300)
    assert found[0][0, 0] == pytest.approx(1, abs=0.2)
    assert found[0][0, 1] == found.errors[0][0, 1] == 0


def test_strengths_keep_their_errors():
    flow = randomize(MODELS["rgflow"](), 0.2)
    found = analysis.strengths(flow, 50)
    again = pickle.loads(pickle.dumps(found))
    assert all(torch.equal(a, b) for a, b in zip(again.errors, found.errors, strict=True))
    assert "error of largest" in repr(found)
    assert found.table.rows[0][2] == found[0].max().item()
    with pytest.warns(UserWarning, match="for the strongest latent of level .: take more than 1 samples"):
        assert analysis.strengths(flow, 1).errors[0].isinf().all()


def test_a_traversal_changes_one_latent():
    flow = randomize(MODELS["rgflow"](), 0.2)
    z = flow.sample_latents(1)
    x = analysis.traverse(flow, (1, 0, 2, 3), [-2.0, z[1][0, 0, 2, 3].item(), 2.0], z)
    torch.testing.assert_close(x[1:2], flow.inverse(z)[0])
    back, _ = flow(x)
    assert back[1][:, 0, 2, 3].tolist() == pytest.approx([-2.0, z[1][0, 0, 2, 3].item(), 2.0])
    changed = (x[0] - x[2]).abs().amax(0) > 0
    assert not changed[~flow.generation_cone(1, (2, 3)).pixels].any()
    conditional = randomize(CONDITIONAL["rgflow-classes"](), 0.2)
    z = conditional.sample_latents(1)
    assert analysis.traverse(conditional, (0, 0, 0, 0), [0.0, 1.0], z, torch.tensor([2])).shape[0] == 2


def test_mixing_by_scale():
    flow = randomize(MODELS["rgflow"](), 0.2)
    a, b = flow.sample_latents(2), flow.sample_latents(2)
    for h in range(len(a) + 1):
        for g, level in enumerate(analysis.mix(a, b, h)):
            assert torch.equal(level, a[g] if g >= h else b[g])
    for others in (b[:-1], [level[..., :1] for level in b]):
        with pytest.raises(ValueError, match="Expected latents of one flow"):
            analysis.mix(a, others, 1)
    for wrong in (None, a[0]):
        with pytest.raises(ValueError, match="Expected lists of latents, a tensor per level"):
            analysis.mix(a, wrong, 1)


@pytest.mark.parametrize(("models", "name"), [
    *((MODELS, name) for name in [*MODELS][::2] if name != "rgflow-leaky"),
    *((CONDITIONAL, name) for name in [*CONDITIONAL][::2]),
])  # fmt: skip
def test_the_parts_of_log_p_add_up(models, name):
    flow = randomize(models[name](), 0.2)
    x = batch(flow, 3)
    context = contexts(flow, 3) if models is CONDITIONAL else None
    parts, log_prob = analysis.decompose(flow, x, context), flow.log_prob(x, context)
    torch.testing.assert_close(parts.log_prob, log_prob, atol=1e-10, rtol=0)
    assert parts.levels.shape == (3, len(flow.plan.latents))
    assert set(parts.nodes) == {step.node for step in flow.plan.steps if step.module}
    torch.testing.assert_close(sum(level.flatten(1).sum(1) for level in parts.maps), log_prob, atol=1e-9, rtol=0)
    bits = -log_prob / (flow.plan.input.variables * math.log(2))
    torch.testing.assert_close(parts.bits().sum(1), bits, atol=1e-9, rtol=0)


def test_maps_show_where_an_image_is_unlikely():
    torch.manual_seed(2)
    flow = mera.build("rgflow", L=16, m=4, channels=1, layers=1, hidden=(4,), prior="gaussian").double()
    x = 0.1 * torch.randn(1, 1, 16, 16, dtype=torch.float64)
    x[0, 0, 9, 6] += 30.0
    maps = analysis.decompose(flow, x).maps
    for h, level in enumerate(maps):
        row, column = divmod(int(level[0].argmin()), 16)
        assert max(abs(row - 9), abs(column - 6)) <= 2 ** (h + 2)  # two cells of this level
