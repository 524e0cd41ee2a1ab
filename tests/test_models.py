"""The table of laws for every model, in 1, 2 and 3 dimensions, periodic and open; and what a user is told."""

import copy
import inspect
import io
import math
import pickle
import time
from functools import partial

import numpy as np
import pytest
import torch

import mera
from mera import LayoutError
from mera.bijectors import Asinh, Chain, LULinear, named
from mera.models import names
from tests.laws import check_laws, randomize

rgflow = partial(mera.build, "rgflow", layers=1, hidden=(5, 4), residual_blocks=2)
realnvp = partial(mera.build, "realnvp", layers=1, hidden=(3,), residual_blocks=1)


def small(name, **options):
    return mera.build(name, layers=1, hidden=(4,), residual_blocks=1, **options)


MODELS = {
    "rgflow": lambda: rgflow(L=8, m=4, channels=1),
    "rgflow-authors": lambda: rgflow(L=8, m=4, channels=1, preset="authors"),
    "rgflow-authors-m2": lambda: rgflow(L=8, m=2, channels=2, preset="authors"),
    "rgflow-paper": lambda: rgflow(L=(4, 8), m=2, channels=2, conditioner="paper", prior="gaussian"),
    "rgflow-paper-normed-m8": lambda: rgflow(L=8, m=8, channels=1, conditioner="paper", norm=True),
    "rgflow-no-norm": lambda: rgflow(L=8, m=2, channels=2, norm=False),
    "rgflow-open": lambda: rgflow(L=8, m=4, channels=2, boundary="open"),
    "rgflow-open-authors": lambda: rgflow(L=(8, 4), m=2, channels=2, boundary="open", order="authors"),
    "rgflow-1d": lambda: rgflow(L=16, m=4, channels=2, dim=1),
    "rgflow-1d-open": lambda: rgflow(L=16, m=2, channels=3, dim=1, boundary="open"),
    "rgflow-3d": lambda: rgflow(L=4, m=2, channels=2, dim=3),
    "rgflow-3d-box-open": lambda: rgflow(L=(4, 2, 6), m=2, channels=1, boundary="open"),
    "rgflow-shared": lambda: rgflow(L=8, m=2, channels=2, share_levels=True),
    "realnvp": lambda: realnvp(L=8, m=4, channels=1),
    "realnvp-periodic": lambda: realnvp(L=(4, 8), m=2, channels=2, boundary="periodic"),
    "realnvp-1d": lambda: realnvp(L=16, m=4, channels=2, dim=1),
    "realnvp-3d": lambda: realnvp(L=4, m=2, channels=1, dim=3, norm=False),
    "rgflow-spline": lambda: rgflow(L=8, channels=1, bijector="spline"),
    "rgflow-maf": lambda: rgflow(L=(4, 8), m=2, channels=2, bijector={"name": "maf", "hidden": (20,), "layers": 1}),
    "rgflow-leaky": lambda: rgflow(L=4, m=2, channels=2, bijector=lambda shape: Chain([LULinear(shape), Asinh(shape)])),
    "neuralrg": lambda: small("neuralrg", L=8, repeats=2),
    "neuralrg-1d": lambda: small("neuralrg", L=16, channels=2, dim=1, boundary="open"),
    "tree": lambda: small("tree", L=8, m=2, channels=2),
    "tree-wide": lambda: small("tree", L=(9, 27), m=3, channels=1, boundary="open"),
    "ternary": lambda: small("ternary", L=9, channels=2),
    "ternary-1d-open": lambda: small("ternary", L=27, channels=1, dim=1, boundary="open"),
    "tebd": lambda: small("tebd", L=(8, 12), m=4, channels=1, depth=2),
    "tebd-open-3d": lambda: small("tebd", L=4, m=2, channels=1, depth=1, dim=3, boundary="open"),
    "branching": lambda: small("branching", L=8, m=2, channels=1),
    "branching-1d-open": lambda: small("branching", L=16, m=4, channels=2, dim=1, boundary="open"),
    "glow": lambda: small("glow", L=8, m=4, channels=1),
    "glow-periodic": lambda: small("glow", L=(4, 8), m=2, channels=2, boundary="periodic"),
    "glow-1d": lambda: small("glow", L=8, m=8, channels=3, dim=1),
    "wavelet": lambda: small("wavelet", L=8, m=4, channels=1),
    "wavelet-periodic": lambda: small("wavelet", L=(4, 8), m=2, channels=2, boundary="periodic"),
    "wavelet-1d": lambda: small("wavelet", L=16, m=4, channels=1, dim=1, norm=False),
    "wavelet-3d": lambda: small("wavelet", L=4, m=2, channels=1, dim=3),
}  # fmt: skip

ONE_EACH = {name.partition("-")[0]: name for name in reversed(MODELS)}
"""The first entry of each registered model."""

CONDITIONAL = {
    "rgflow": lambda: rgflow(L=8, channels=1, context=3),
    "rgflow-per-pixel": lambda: rgflow(L=8, m=2, channels=1, context=(2, 8, 8), boundary="open"),
    "rgflow-classes": lambda: rgflow(L=4, channels=1, classes=5),
    "rgflow-asinh-behind": lambda: rgflow(L=4, channels=1, context=2, bijector=asinh_behind),
    "rgflow-paper": lambda: rgflow(L=(4, 8), channels=1, conditioner="paper", context=(3,)),
    "realnvp-per-pixel": lambda: realnvp(L=8, m=4, channels=1, context=(2, 8, 8)),
    "neuralrg": lambda: small("neuralrg", L=4, context=2),
    "tree": lambda: small("tree", L=8, channels=1, context=2),
    "ternary": lambda: small("ternary", L=9, channels=1, context=(2, 9, 9)),
    "tebd": lambda: small("tebd", L=8, channels=1, depth=1, context=2),
    "branching": lambda: small("branching", L=8, channels=1, context=(1, 8, 8)),
    "glow": lambda: small("glow", L=8, channels=1, classes=3, context=2),
    "glow-per-pixel": lambda: small("glow", L=8, channels=1, context=(2, 8, 8), boundary="periodic"),
    "wavelet": lambda: small("wavelet", L=8, channels=1, context=2),
    "wavelet-per-pixel": lambda: small("wavelet", L=16, m=4, channels=1, dim=1, context=(2, 16)),
}  # fmt: skip


def asinh_behind(shape, context_shape=None):
    """A bijector without context behind one with."""
    coupling = named("coupling", {"layers": 1, "hidden": (4,)})(shape, context_shape)
    return Chain([coupling, named("asinh")(shape, context_shape)])


def batch(flow, n=2):
    return 0.7 * torch.randn(n, *flow.plan.input.event_shape, dtype=torch.float64)


def contexts(flow, n=2):
    if flow.conditions.classes is not None:
        return torch.arange(n) * 2 % flow.conditions.classes
    return torch.randn(n, *flow.plan.context, dtype=torch.float64)


@pytest.mark.parametrize("name", MODELS)
def test_laws(name):
    flow = randomize(MODELS[name](), 0.2)
    check_laws(flow, batch(flow))


@pytest.mark.parametrize("name", CONDITIONAL)
def test_laws_of_conditional_flows(name):
    """Those of all flows; and each number of a context counts, at its own pixel if it has one, for its own image."""
    flow = randomize(CONDITIONAL[name](), 0.2)
    x, context = batch(flow), contexts(flow)
    if flow.conditions.classes is None:
        check_laws(flow, x, context)
        context.requires_grad_()
        (gradient,) = torch.autograd.grad(flow.log_prob(x, context)[0], context)
        assert (gradient[0] != 0).all()
        assert not gradient[1].any()
    else:
        z, log_det = flow(x, context)
        torch.testing.assert_close(flow.inverse(z, context)[0], x)
        values = flow.conditions.values(context, 2)
        assert values.shape == (2, *flow.plan.context)
        assert not torch.equal(flow(x, context.flip(0))[1], log_det)
        loss = flow.log_prob(x, context).sum()
        assert all(g.abs().sum() > 0 for g in torch.autograd.grad(loss, list(flow.parameters())))
    same = context[:1]
    torch.testing.assert_close(flow.log_prob(x, same), flow.log_prob(x, same.expand(2, *same.shape[1:])))
    samples = flow.sample(2, context)
    assert samples.shape == x.shape
    z = flow.sample_latents(2)
    torch.testing.assert_close(flow.progression(z, context)[0], flow.inverse(z, context)[0])
    flow.initialize(x, context)
    images = flow.to_images(samples)
    assert flow.bits_per_dim(images, context=context).isfinite().all()


@pytest.mark.parametrize("memory", ["checkpoint", "invert"])
@pytest.mark.parametrize("name", ["rgflow", "rgflow-per-pixel", "rgflow-classes", "wavelet"])
def test_memory_of_conditional_flows(name, memory):
    flow = randomize(CONDITIONAL[name](), 0.2)
    x, context = batch(flow), contexts(flow)
    wanted = list(flow.parameters())
    if context.is_floating_point():
        wanted.append(context.requires_grad_())
    expected = torch.autograd.grad(flow.log_prob(x, context).sum(), wanted)
    flow.memory = memory
    for a, b in zip(torch.autograd.grad(flow.log_prob(x, context).sum(), wanted), expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


def test_context_of_pixels_is_local():
    """At level h a block reads the means over cells of 2^h pixels: those of its own patch and of no other."""
    flow = randomize(rgflow(L=8, m=2, channels=1, context=(2, 8, 8), order="authors"), 0.2)
    context = contexts(flow, 1).requires_grad_()
    x = batch(flow, 1)
    seen = {}
    given = flow.conditions(context, x, lambda step: True)
    for step in flow.plan.steps:
        if step.module:
            seen[step.node] = given(step)
    first = seen["disentangler0"]  # offset 0
    assert torch.equal(first[5], context[0, :, 2:4, 2:4])  # row 1, column 1 of 4 x 4 patches
    coarse = context.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    torch.testing.assert_close(seen["decimator1"][0], coarse[0, :, [1, 2]][:, :, [1, 2]])  # offset 1


@pytest.mark.parametrize("name", MODELS)
def test_log_prob_is_prior_plus_log_det(name):
    flow = randomize(MODELS[name](), 0.2)
    x = batch(flow)
    z, log_det = flow(x)
    values = torch.cat([level.flatten(1) for level in z], dim=1)
    if "laplace" in str(flow.prior).lower():
        density = -math.sqrt(2) * values.abs() - math.log(math.sqrt(2))
    else:
        density = -(values**2) / 2 - math.log(2 * math.pi) / 2
    torch.testing.assert_close(flow.log_prob(x), density.sum(1) + log_det, atol=1e-10, rtol=1e-12)


PICKLED = [name for name in MODELS if name != "rgflow-leaky"]
"""A lambda in a layout cannot be pickled, as everywhere in Python."""


@pytest.mark.parametrize("name", PICKLED)
def test_pytorch_citizenship(name):
    flow = randomize(MODELS[name](), 0.2)
    x = batch(flow)
    expected = flow.log_prob(x)
    assert torch.equal(copy.deepcopy(flow).log_prob(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(flow)).log_prob(x), expected)
    other = MODELS[name]().double()
    other.load_state_dict(flow.state_dict(), strict=True)
    assert torch.equal(other.log_prob(x), expected)
    single = flow.to(torch.float32)
    assert single.log_prob(x.float()).dtype == torch.float32
    torch.testing.assert_close(single.log_prob(x.float()).double(), expected, atol=1e-2, rtol=1e-5)
    assert single.sample(2).dtype == torch.float32
    assert single(x.float()[:0])[1].shape == (0,)
    torch.testing.assert_close(single.log_prob(x.float().transpose(1, 2).contiguous().transpose(1, 2)),
                               single.log_prob(x.float()))  # fmt: skip


@pytest.mark.parametrize("name", ["rgflow-open", "rgflow-spline", *ONE_EACH.values()])
def test_torch_compile_in_one_graph(name):
    """The eager backend traces as every backend does and spares the time of generating code."""
    flow = randomize(MODELS[name](), 0.2)
    x = batch(flow)
    z, log_det = torch.compile(flow, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(log_det, flow(x)[1])
    back, _ = torch.compile(flow.inverse, fullgraph=True, backend="eager")(tuple(level.detach() for level in z))
    torch.testing.assert_close(back, x)
    compiled = torch.compile(flow.log_prob, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(compiled, flow.log_prob(x))


def test_torch_compile_of_a_conditional_flow():
    flow = randomize(CONDITIONAL["rgflow-classes"](), 0.2)
    x, context = batch(flow), contexts(flow)
    _, log_det = torch.compile(flow, fullgraph=True, backend="eager")(x, context)
    torch.testing.assert_close(log_det, flow(x, context)[1])


@pytest.mark.parametrize("name", ["rgflow-open", *ONE_EACH.values()])
def test_torch_export_with_any_batch(name):
    flow = randomize(MODELS[name](), 0.2)
    batch_axis = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(flow, (batch(flow, 4),), dynamic_shapes=({0: batch_axis},)).module()
    x = batch(flow, 7)
    torch.testing.assert_close(program(x)[1], flow(x)[1])


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own, in its forward mode
@pytest.mark.parametrize("name", ONE_EACH.values())
def test_torch_func(name):
    """vmap maps the flow over an axis more; jvp is the directional derivative, as differences have it."""
    flow = randomize(MODELS[name](), 0.2)
    x = torch.stack([batch(flow, 3), batch(flow, 3)])
    _, log_det = torch.func.vmap(flow)(x)
    torch.testing.assert_close(log_det, torch.stack([flow(part)[1] for part in x]))
    x, v, eps = x[0], torch.randn_like(x[0]), 1e-6
    value, slope = torch.func.jvp(lambda x: flow(x)[1], (x,), (v,))
    torch.testing.assert_close(value, flow(x)[1])
    torch.testing.assert_close(slope, (flow(x + eps * v)[1] - flow(x - eps * v)[1]) / (2 * eps), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ONE_EACH.values())
def test_autocast_keeps_variables_and_log_dets_single(name):
    flow = randomize(MODELS[name](), 0.05).float()
    x = batch(flow).float()
    expected = flow(x)[1]
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = flow(x)
        back, _ = flow.inverse(z)
    assert {level.dtype for level in (*z, log_det, back)} == {torch.float32}
    torch.testing.assert_close(log_det, expected, atol=0.3, rtol=0.1)
    torch.testing.assert_close(back, x, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", ONE_EACH.values())
def test_channels_last_and_other_strides(name):
    flow = randomize(MODELS[name](), 0.2)
    x = batch(flow, 4)
    expected = flow.log_prob(x)
    if x.ndim == 4:
        torch.testing.assert_close(flow.log_prob(x.to(memory_format=torch.channels_last)), expected)
    torch.testing.assert_close(flow.log_prob(torch.cat([x, x], 1)[:, : x.shape[1]]), expected)
    torch.testing.assert_close(flow.log_prob(x.repeat_interleave(2, 0)[::2]), expected)


@pytest.mark.parametrize("name", ["rgflow", "realnvp", "glow", "wavelet", "rgflow-spline"])
def test_half_precision_keeps_log_dets_single(name):
    flow = randomize(MODELS[name](), 0.05)
    x = batch(flow)
    expected = flow(x)[1]
    half = flow.to(torch.bfloat16)
    z, log_det = half(x.bfloat16())
    assert (z[0].dtype, log_det.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(log_det.double(), expected, atol=0.3, rtol=0.1)
    bits = half.bits_per_dim(torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8))
    assert bits.dtype == torch.float32
    assert half.log_prob(x.bfloat16()).dtype == torch.float32


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, as it generates code
@pytest.mark.parametrize("name", ONE_EACH.values())
def test_torch_compile_to_machine_code(name):
    flow = randomize(MODELS[name](), 0.2)
    x = batch(flow)
    _, log_det = torch.compile(flow, fullgraph=True)(x)
    torch.testing.assert_close(log_det, flow(x)[1])


def test_numbers_of_numpy_build_the_same_flow(tmp_path):
    flow = rgflow(L=np.int64(8), m=np.int64(4), channels=np.int32(1), layers=np.array([1, 2])[1], norm=np.bool_(True))
    mera.save(flow, tmp_path / "flow")
    assert mera.load(tmp_path / "flow").recipe.options["L"] == 8
    assert flow.sample(np.int64(2)).shape == (2, 1, 8, 8)


def test_default_sizes():
    start = time.perf_counter()
    flow = mera.build("rgflow", L=32, m=4)
    assert time.perf_counter() - start < 2
    assert 1e6 <= sum(p.numel() for p in flow.parameters()) <= 2e6
    assert [tuple(level.shape) for level in flow.sample_latents(2)] == [
        (2, 9, 16, 16), (2, 9, 8, 8), (2, 9, 4, 4), (2, 3, 4, 4),
    ]  # fmt: skip


def test_published_sizes():
    """100,647,680 parameters, counted in the authors' code."""
    flow = mera.build("rgflow", L=32, m=4, preset="authors")
    assert sum(p.numel() for p in flow.parameters()) == 100_647_680


def test_only_the_joint_conditioner_is_normed_unless_asked():
    def normed(**options):
        return any(isinstance(m, mera.bijectors.ActNorm) for m in rgflow(L=4, **options).modules())

    assert normed()
    assert not normed(norm=False)
    assert not normed(conditioner="paper")
    assert not normed(conditioner="authors", order="authors")
    assert normed(conditioner="paper", norm=True)


def test_order():
    offsets = {
        order: [step.action.offset for step in rgflow(L=8, order=order).plan.steps if step.module]
        for order in ("paper", "authors")
    }
    assert offsets["paper"] == [(2, 2), (0, 0)] * 2
    assert offsets["authors"] == [(0, 0), (2, 2)] * 2


def test_decimation_keeps_the_sites_at_even_places():
    """Eq. (5): the sites at the stride go on, and each latent lies at its own site of the pixel lattice."""
    flow = rgflow(L=8, m=4, channels=2)
    t = torch.arange(2 * 64.0).view(1, 2, 8, 8)
    z = flow.from_lattice(t)
    assert torch.equal(z[1], t[..., ::2, ::2])
    assert torch.equal(z[0][:, :2], t[..., ::2, 1::2])
    assert torch.equal(z[0][:, 2:4], t[..., 1::2, ::2])
    assert torch.equal(flow.to_lattice(z), t)


def test_shared_levels_have_one_disentangler_and_one_decimator():
    flow = rgflow(L=32, share_levels=True)
    assert sorted(flow.bijectors) == ["decimator", "disentangler"]
    assert sum(p.numel() for p in flow.parameters()) == sum(p.numel() for p in rgflow(L=4).parameters())


def test_parameters_of_each_step():
    flow = mera.build("rgflow", L=16, layers=(3, 2, 1), hidden=[(4,), (5,), (6, 7)], residual_blocks=(1, 2, 3))
    for h, (layers, blocks, widths) in enumerate([(3, 1, (4, 4)), (2, 2, (5, 5)), (1, 3, (6, 7, 6))]):
        for node in (f"disentangler{h}", f"decimator{h}"):
            members = flow.bijectors[node].members
            assert len(members) == 2 * layers
            network = members[1].networks[0].network
            assert len(network.blocks) == blocks
            assert tuple(m.out_features for m in network.blocks[0] if hasattr(m, "out_features")) == widths


def test_progression_shows_the_lattice_at_each_level():
    flow = randomize(MODELS["rgflow-authors-m2"](), 0.2)
    z = tuple(level.double() for level in flow.sample_latents(3))
    levels = flow.progression(z)
    assert [tuple(x.shape) for x in levels] == [(3, 2, 8, 8), (3, 2, 4, 4), (3, 2, 2, 2)]
    assert torch.equal(levels[0], flow.inverse(z)[0])
    top = rgflow(L=2, m=2, channels=2, preset="authors").double()
    for node in ("disentangler", "decimator"):
        top.bijectors[f"{node}0"].load_state_dict(flow.bijectors[f"{node}2"].state_dict())
    torch.testing.assert_close(levels[2], top.inverse(z[2:])[0])


def test_progression_follows_what_is_kept():
    layout = mera.Layout((8,), 1)
    kept, rest = layout.decimate(layout.input)
    layout.latent(layout.local(rest, mera.bijectors.ActNorm, 2))
    coarse, rest = layout.decimate(kept)
    layout.latent(rest)
    layout.latent(coarse)
    flow = mera.Flow(layout)
    x = torch.randn(2, 1, 8)
    levels = flow.progression(flow(x)[0])
    for level, stride in zip(levels, (1, 2, 4), strict=True):
        torch.testing.assert_close(level, x[..., ::stride])


@pytest.mark.parametrize("name", ["rgflow", "realnvp"])
def test_samples_and_images(name):
    flow = randomize(MODELS[name](), 0.2).float()
    images = flow.to_images(flow.sample(5, temperature=0.7))
    assert (images.dtype, images.shape) == (torch.uint8, (5, 1, 8, 8))
    torch.manual_seed(3)
    bits = flow.bits_per_dim(images)
    torch.manual_seed(3)
    y = (images + torch.rand(images.shape) * (1 - 2**-15)) / 256
    p = 0.9 * y + 0.05
    x = torch.log(p) - torch.log1p(-p)
    slope = (math.log(0.9) - torch.log(p) - torch.log1p(-p)).flatten(1).sum(1)
    nats_per_dim = -(flow.log_prob(x) + slope) / 64
    torch.testing.assert_close(bits, (nats_per_dim + math.log(256)) / math.log(2), atol=1e-4, rtol=1e-4)
    assert flow.from_images(images).shape == (5, 1, 8, 8)


def test_bits_per_dim_of_a_uniform_model_is_eight():
    """Without couplings, and a prior that undoes the logit's slope, nothing is learnt: 8 bits for 8 bits."""

    class Uniformity(mera.bijectors.Bijector):
        def forward(self, x):
            y = (torch.sigmoid(x) - 0.05) / 0.9
            p = torch.sigmoid(x)
            return y, (torch.log(p * (1 - p)) - math.log(0.9)).flatten(1).sum(1)

        def inverse(self, y):
            raise AssertionError("not needed here")

    layout = mera.Layout((4, 4), 3)
    layout.latent(layout.local(layout.input, Uniformity(), 4))
    flow = mera.Flow(layout, torch.distributions.Uniform(-0.01, 1.01, validate_args=False)).double()
    bits = flow.bits_per_dim(torch.randint(0, 256, (6, 3, 4, 4), dtype=torch.uint8))
    torch.testing.assert_close(bits, torch.full_like(bits, 8 + math.log2(1.02)))


def test_initialize_then_train_a_step():
    flow = rgflow(L=8, channels=1)
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8)
    flow.initialize(flow.from_images(images))
    z, _ = flow(flow.from_images(images))
    assert 0.5 < torch.cat([level.flatten() for level in z]).std() < 2
    before = flow.bits_per_dim(images).mean()
    optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        flow.bits_per_dim(images).mean().backward()
        optimizer.step()
    assert flow.bits_per_dim(images).mean() < before


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: mera.build("rgflw"), ValueError, r"a model among \[.*'rgflow'.*\]; got 'rgflw' \(did you mean"),
        (lambda: mera.build("rgflow", layer=2), ValueError, r"an option of 'rgflow'.*got 'layer' \(did you mean"),
        (lambda: mera.build("rgflow", L=24, m=4), ValueError, r"L = 4 \* 2\^h; got 24x24"),
        (lambda: mera.build("rgflow", L=2, m=4), ValueError, r"got 2x2"),
        (lambda: mera.build("rgflow", L=32.0), ValueError, "Expected L as a positive integer"),
        (lambda: mera.build("rgflow", m=3), ValueError, "Expected an even kernel size m >= 2; got 3"),
        (lambda: mera.build("rgflow", channels=0), LayoutError, "Expected a positive number of channels; got 0"),
        (lambda: mera.build("rgflow", order="newest"), ValueError, "Expected an order among .*; got 'newest'"),
        (lambda: mera.build("rgflow", conditioner="x"), ValueError, "Expected a conditioner among .*; got 'x'"),
        (lambda: mera.build("rgflow", preset="x"), ValueError, "Expected a preset among .*; got 'x'"),
        (lambda: mera.build("realnvp", preset="authors"), ValueError, r"Expected a preset among \[\]; got 'authors'"),
        (lambda: mera.build("rgflow", layers=(1, 2)), ValueError, "each of 4 RG steps; got"),
        (lambda: mera.build("rgflow", layers=0), ValueError, "Expected layers as one positive integer"),
        (lambda: mera.build("rgflow", hidden=8), ValueError, "Expected hidden as a tuple of widths; got 8"),
        (lambda: mera.build("rgflow", hidden=()), ValueError, "Expected hidden as a tuple of positive widths"),
        (lambda: mera.build("rgflow", hidden=[(8,), (8,)]), ValueError, "a list of 4 such tuples"),
        (lambda: mera.build("rgflow", layers=(1, 1, 1, 2), share_levels=True), ValueError, "which share them; got"),
        (lambda: mera.build("rgflow", norm="no"), ValueError, "Expected norm as True or False; got 'no'"),
        (lambda: mera.build("rgflow", share_levels=1), ValueError, "Expected share_levels as True or False; got 1"),
        (lambda: mera.build("realnvp", norm=[]), ValueError, r"Expected norm as True or False; got \(\)"),
        (lambda: mera.build("rgflow", dim="2"), ValueError, "Expected dim 1, 2 or 3; got '2'"),
        (lambda: mera.build("rgflow", boundary=None), LayoutError, "got None"),
        (lambda: mera.build("rgflow", boundary=5), LayoutError, "got 5"),
        (lambda: mera.build("rgflow", prior="cauchy"), ValueError, "Expected 'gaussian', 'laplace' or a torch"),
        (lambda: mera.build("rgflow", boundary="x"), LayoutError, "Expected boundary 'periodic' or 'open'"),
        (lambda: mera.build("realnvp", boundary="x"), ValueError, "Expected a boundary among"),
        (lambda: mera.build("realnvp", m=0), ValueError, "Expected the width m as an integer >= 2; got 0"),
        (lambda: mera.build("rgflow", bijector="splin"), ValueError, "a bijector among .*did you mean 'spline'"),
        (lambda: mera.build("rgflow", bijector={"name": "spline", "bin": 2}), ValueError, "'bin' .did you mean 'bins'"),
        (lambda: mera.build("rgflow", bijector={"bins": 2}), ValueError, "Expected a bijector among"),
        (lambda: mera.build("rgflow", bijector=3), ValueError, "Expected a bijector's name.*got 3"),
        (lambda: mera.build("rgflow", bijector="haar"), LayoutError, "node 'disentangler0': Expected patches of 2"),
        (lambda: mera.build("rgflow", bijector="asinh", context=3), LayoutError, "takes the context .3,.; got none"),
        (lambda: mera.build("rgflow", order=np.array([4])), ValueError, "Expected an order among"),
        (lambda: mera.build("rgflow", L=4, bijector={"name": "leaky-relu", "slope": 1e300}), LayoutError, "the slope"),
        (lambda: mera.build("rgflow", bijector="linear", context=3), LayoutError, "takes the context .3,.; got none"),
        (lambda: mera.build("rgflow", conditioner="authors", context=3), LayoutError, "length, and no context"),
        (lambda: mera.build("rgflow", context=(3, 4)), ValueError, r"or \(K, 32, 32\) for each pixel; got \(3, 4\)"),
        (lambda: mera.build("rgflow", context=0), ValueError, "Expected a context K"),
        (lambda: mera.build("rgflow", classes=0), ValueError, "Expected a positive number of classes; got 0"),
        (lambda: mera.build("rgflow", classes=3, context=(2, 32, 32)), ValueError, "to learn for each class"),
        (lambda: mera.build("neuralrg", L=12), ValueError, r"L = 2 \* 2\^h; got 12x12"),
        (lambda: mera.build("neuralrg", repeats=0), ValueError, "Expected repeats as an integer >= 1; got 0"),
        (lambda: mera.build("ternary", L=32), ValueError, r"divide by 3 .* L = 3 \* 3\^h; got 32x32"),
        (lambda: mera.build("tree", m=1), ValueError, "Expected m as an integer >= 2; got 1"),
        (lambda: mera.build("tebd", m=3), ValueError, "Expected an even kernel size"),
        (lambda: mera.build("tebd", L=10, m=4), LayoutError, "node 'even0': Expected a kernel that divides"),
        (lambda: mera.build("tebd", depth=2.0), ValueError, "Expected depth as an integer"),
        (lambda: mera.build("glow", L=4, channels=1), LayoutError, "at least 2 channels"),
    ],
)  # fmt: skip
def test_bad_options(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f(torch.zeros(2, 1, 16, 16)), r"Expected data of shape \(B, 1, 8, 8\); got \(2, 1, 16, 16\)"),
        (lambda f: f(torch.zeros(1, 8, 8)), r"Expected data of shape \(B, 1, 8, 8\); got \(1, 8, 8\)"),
        (lambda f: f(torch.zeros(2, 1, 8, 8).double()), "Expected data of dtype torch.float32.*got torch.float64"),
        (lambda f: f.log_prob(torch.zeros(2, 1, 8, 8).int()), "got torch.int32"),
        (lambda f: f([1.0]), "Expected data as a tensor; got list"),
        (lambda f: f.inverse(torch.zeros(2, 1, 8, 8)), "a tuple of 2 tensors.*got Tensor"),
        (lambda f: f.inverse(None), "a tuple of 2 tensors.*got NoneType"),
        (lambda f: f.initialize(torch.zeros(0, 1, 8, 8)), "Expected some finite data to start from; got 0 samples"),
        (lambda f: f.initialize(torch.full((2, 1, 8, 8), math.nan)), "Expected some finite data"),
        (lambda f: f.inverse(f.sample_latents(2)[:1]), "Expected latents as a tuple of 2 tensors.*got 1 tensors"),
        (lambda f: f.inverse(f.sample_latents(2)[::-1]), "Expected latents of level 0 of shape"),
        (lambda f: f.inverse((f.sample_latents(2)[0], f.sample_latents(3)[1])), r"one batch size.*got \[2, 3\]"),
        (lambda f: f.bits_per_dim(torch.zeros(2, 1, 8, 8)), "Expected images of dtype uint8; got torch.float32"),
        (lambda f: f.bits_per_dim(torch.zeros(2, 3, 8, 8).byte()), "Expected images of shape"),
        (lambda f: f.sample(-1), "Expected a number of samples as an integer >= 0; got -1"),
        (lambda f: f.sample(2, temperature=[0.5]), "one for each of 2 levels"),
        (lambda f: f.sample(2, temperature=0.0), "Expected a positive temperature; got 0.0"),
        (lambda f: f.sample(2, temperature=torch.ones(2)), "Expected a positive temperature; got tensor"),
        (lambda f: f.to_images(torch.zeros(1, 2, 8, 8)), "Expected data of 1 channels in 2 dimensions"),
        (lambda f: f.to_images(torch.zeros(1, 8, 8)), "Expected data of 1 channels in 2 dimensions"),
        (lambda f: f.from_images(torch.zeros(1, 1, 8, 8)), "Expected images of dtype uint8"),
        (lambda f: f(torch.zeros(2, 1, 8, 8, device="meta")), "Expected data on cpu, where the flow is; got meta"),
        (lambda f: f.to_lattice(torch.zeros(1)), "Expected latents as a tuple"),
        (lambda f: f.from_lattice(torch.zeros(1, 1, 4, 4)), "Expected latents on the lattice of shape"),
        (lambda f: f.initialize(torch.zeros(1, 1, 4, 4)), "Expected data of shape"),
        (lambda f: f(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3)), "Expected no context"),
        (lambda f: f.sample(2, 0.5), "Expected no context"),
        (lambda f: f.distribution(3), "Expected no context"),
        (lambda f: f.distribution().log_prob(None), "Expected values .*; got NoneType"),
        (lambda f: f.bits_per_dim(torch.zeros(2, 1, 8, 8).byte(), noise=0.5), "Expected noise as a tensor; got float"),
        (lambda f: f.to_images(torch.zeros(1, 1, 8, 8).int()), "Expected data as floats"),
        (lambda f: mera.Flow(f.layout, preprocess="x"), "Expected a bijector to preprocess images; got str"),
        (lambda f: mera.save(None, "x"), "Expected a Flow; got NoneType"),
        (lambda f: mera.load(None), "Expected a path; got None"),
        (lambda f: f.layout.draw(dimension=2), "Expected a dimension from -2 to 1; got 2"),
        (lambda f: f.layout.draw(dimension=None), "Expected a dimension"),
    ],
)  # fmt: skip
def test_bad_calls(call, message):
    flow = MODELS["rgflow"]()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call(flow)


@pytest.mark.parametrize(
    ("name", "context", "message"),
    [
        ("rgflow", None, r"Expected a context, \(B, 3\), as the flow is conditional; got none"),
        ("rgflow", torch.zeros(2, 4), r"Expected a context, \(B, 3\), for B = 2 or 1; got \(2, 4\)"),
        ("rgflow", torch.zeros(3, 3), r"for B = 2 or 1; got \(3, 3\)"),
        ("rgflow", torch.zeros(2, 3).int(), "Expected a context of floats; got torch.int32"),
        ("rgflow", [0.0], "got list"),
        ("rgflow-classes", torch.zeros(2), "Expected class numbers, integers; got torch.float32"),
        ("rgflow-classes", torch.tensor([0, 5]), "Expected class numbers from 0 to 4; got 0 to 5"),
        ("rgflow-classes", torch.tensor([[0], [1]]), r"B class numbers, for B = 2 or 1; got \(2, 1\)"),
    ],
)  # fmt: skip
def test_bad_contexts(name, context, message):
    flow = CONDITIONAL[name]()
    for call in (lambda: flow.log_prob(batch(flow).float(), context), lambda: flow.sample(2, context)):
        with pytest.raises(ValueError, match=message):
            call()


def test_every_model_is_in_the_table():
    assert {MODELS[name]().recipe.model for name in MODELS} == set(names())
    for name in names():
        assert inspect.getdoc(mera.models.builder(name))


def test_print_shows_levels_nodes_and_parameters():
    out = io.StringIO()
    print(MODELS["rgflow-shared"](), file=out)
    text = out.getvalue()
    for word in ("disentangler0", "decimator2", "z2", "shared with 'disentangler'", "parameters", "128 variables"):
        assert word in text
