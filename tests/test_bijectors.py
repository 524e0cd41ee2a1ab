"""The table of laws, for every bijector by itself."""

import copy
import math
import pickle
from functools import partial
from threading import Thread

import pytest
import torch

import mera
from mera import bijectors
from mera.bijectors import (
    MADE,
    ActNorm,
    Additive,
    Affine,
    Asinh,
    Autoregressive,
    Bijector,
    Chain,
    ChannelHalves,
    Conditioned,
    Coupling,
    Couplings,
    Dequantize,
    Gather,
    Haar,
    Invert,
    LeakyReLU,
    LogisticMixture,
    Logit,
    LULinear,
    Masked,
    Orthogonal,
    PatchMLPs,
    Permutation,
    Pointwise,
    RationalQuadratic,
    ResidualConv,
    ResidualMLP,
    SeparateMLPs,
    Squeezed,
    checkerboard,
    named,
)
from mera.bijectors.stacked import StackedMLPs
from tests.laws import Dense, check_laws, randomize

PATCH = (2, 3, 4)  # channels, height, width: all different, so that an exchanged axis shows
EVEN = (3, 2, 4)
LINE = (2, 5)
CUBE = (2, 2, 3, 4)
mlp = partial(ResidualMLP, hidden=(5, 4), blocks=2)
paper = partial(SeparateMLPs, hidden=(5, 4), blocks=2)
patch = partial(PatchMLPs, hidden=(5, 4), blocks=2)
conv = partial(ResidualConv, hidden=(3, 5), blocks=1)


def together(partition, *conditioners, layers=3, **options):
    """Couplings over one partition, so many of each conditioner."""
    return [Coupling(partition, conditioner, **options) for conditioner in conditioners for _ in range(layers)]


BIJECTORS = {
    "gather-mlp-affine": lambda: Coupling(Gather(checkerboard(PATCH)), mlp),
    "gather-mlp-additive": lambda: Coupling(Gather(checkerboard(PATCH)), mlp, Additive()),
    "gather-paper": lambda: Coupling(Gather(checkerboard(PATCH)), paper, Affine(1.0)),
    "gather-paper-odd": lambda: Coupling(Gather(checkerboard((1, 3, 3))), paper),
    "gather-authors-one-block": lambda: Coupling(
        Gather(checkerboard(PATCH)), partial(PatchMLPs, hidden=(29, 3), blocks=1)
    ),
    "gather-any-mask": lambda: Coupling(Gather(torch.arange(10).view(LINE) % 3 == 0), mlp),
    "gather-authors": lambda: Coupling(Gather(checkerboard(PATCH)), patch, Affine(1.0)),
    "masked-additive": lambda: Coupling(Masked(checkerboard(PATCH)), mlp, Additive()),
    "halves-mlp": lambda: Coupling(ChannelHalves(PATCH), mlp),
    "halves-odd": lambda: Coupling(ChannelHalves((3, 4)), mlp),
    "conv-checkerboard-1d": lambda: Coupling(Masked(checkerboard(LINE)), conv),
    "conv-checkerboard-2d": lambda: Coupling(Masked(checkerboard(PATCH)), conv),
    "conv-checkerboard-3d": lambda: Coupling(Masked(checkerboard(CUBE)), conv),
    "conv-halves": lambda: Coupling(ChannelHalves(EVEN), partial(conv, padding="circular")),
    "conv-halves-additive": lambda: Coupling(ChannelHalves(EVEN), conv, Additive()),
    "couplings": lambda: Couplings(together(Gather(checkerboard((1, 3, 3))), mlp, transform=Affine(0.7))),
    "couplings-conv-masked": lambda: Couplings(together(Masked(checkerboard(PATCH)), conv)),
    "actnorm": lambda: ActNorm(PATCH),
    "actnorm-channels": lambda: ActNorm(PATCH, per_channel=True),
    "chain": lambda: Chain([ActNorm(PATCH), Coupling(Gather(checkerboard(PATCH)), mlp), ActNorm(PATCH)]),
    "invert": lambda: Invert(Chain([ActNorm(PATCH), Coupling(ChannelHalves(PATCH), mlp)])),
    "dense": lambda: Dense(PATCH),
    "spline-coupling": lambda: Coupling(Gather(checkerboard(PATCH)), mlp, RationalQuadratic(5, bound=1.5)),
    "spline-coupling-two-bins": lambda: Coupling(Gather(checkerboard(PATCH)), mlp, RationalQuadratic(2)),
    "spline-conv": lambda: Coupling(ChannelHalves(EVEN), conv, RationalQuadratic(4)),
    "logistic-coupling": lambda: Coupling(Gather(checkerboard(PATCH)), mlp, LogisticMixture(3)),
    "logistic-masked": lambda: Coupling(Masked(checkerboard(PATCH)), conv, LogisticMixture(2)),
    "spline-masked": lambda: Coupling(Masked(checkerboard(PATCH)), conv, RationalQuadratic(3)),
    "logistic-coupling-one": lambda: Coupling(ChannelHalves(PATCH), mlp, LogisticMixture(1)),
    "maf": lambda: Autoregressive(PATCH, hidden=(30, 50)),
    "maf-spline": lambda: Autoregressive(LINE, RationalQuadratic(3), hidden=(40,)),
    "maf-logistic": lambda: Autoregressive(LINE, LogisticMixture(2), hidden=(40,)),
    "iaf": lambda: Invert(Autoregressive(LINE, hidden=(23,))),
    "lu": lambda: LULinear(PATCH),
    "lu-event": lambda: LULinear(LINE, per_site=False),
    "lu-identity": lambda: LULinear(EVEN, identity=True),
    "orthogonal": lambda: Orthogonal(EVEN),
    "orthogonal-event": lambda: Orthogonal(LINE, per_site=False, how="cayley"),
    "permutation": lambda: Permutation(PATCH, per_site=False),
    "permutation-channels": lambda: Permutation(EVEN, torch.tensor([2, 0, 1]), per_site=True),
    "haar-1d": lambda: Haar((3, 2)),
    "haar": lambda: Haar((3, 2, 2)),
    "haar-3d": lambda: Haar((1, 2, 2, 2)),
    "leaky": lambda: LeakyReLU(PATCH, 0.3),
    "asinh": lambda: Asinh(PATCH),
    "pointwise-spline": lambda: Pointwise(PATCH, RationalQuadratic(4)),
    "pointwise-logistic": lambda: Pointwise(LINE, LogisticMixture()),
    "squeezed": lambda: Squeezed(
        (2, 2, 4), lambda shape: Chain([LULinear(shape), Coupling(ChannelHalves(shape), mlp)])
    ),
    "conditioned": lambda: Conditioned(EVEN, 1, partial(coupling_of, ChannelHalves)),
    "conditioned-checkerboard": lambda: Conditioned(
        (4, 2, 3), 3, lambda shape, context: coupling_of(lambda s: Masked(checkerboard(s)), shape, context)
    ),
    "named-glow": lambda: named("glow", {"hidden": (5,), "layers": 2})(EVEN),
    "named-maf": lambda: named("maf", {"hidden": (9,)})(LINE),
    "named-iaf": lambda: named("iaf", {"hidden": (9,)})(LINE),
    "named-spline-maf": lambda: named("spline-maf", {"hidden": (9,), "bins": 3})(LINE),
    "named-spline": lambda: named("spline", {"hidden": (5,), "mask": "channels"})(PATCH),
    "named-additive": lambda: named("additive", {"hidden": (5,), "norm": False})(PATCH),
    "named-logistic": lambda: named("logistic-mixture", {"hidden": (5,), "components": 2})(PATCH),
    "named-convolution": lambda: named("convolution", {"hidden": (3,), "mask": "channels", "residual_blocks": 1})(EVEN),
    "named-coupling": lambda: named("coupling", {"hidden": (5,), "mask": [[[True], [False], [True]]]})(PATCH),
}

CONDITIONAL = {
    "gather-per-image": lambda: (Coupling(Gather(checkerboard(PATCH)), mlp, context_shape=(3,))),
    "gather-paper": lambda: Coupling(Gather(checkerboard(PATCH)), paper, context_shape=(3,)),
    "gather-per-pixel": lambda: Coupling(Gather(checkerboard(PATCH)), mlp, context_shape=(2, 3, 4)),
    "couplings": lambda: Couplings(together(Gather(checkerboard(PATCH)), paper, mlp, layers=1, context_shape=(3,))),
    "conv-per-image": lambda: Coupling(ChannelHalves(EVEN), conv, context_shape=(5,)),
    "conv-per-pixel": lambda: Coupling(Masked(checkerboard(EVEN)), conv, context_shape=(5, 2, 4)),
    "maf": lambda: Autoregressive(LINE, hidden=(30,), context_shape=(3,)),
    "maf-per-pixel": lambda: Autoregressive(LINE, RationalQuadratic(3), hidden=(30,), context_shape=(2, 5)),
    "chain-inverted": lambda: Invert(
        Chain([ActNorm(PATCH), Coupling(Gather(checkerboard(PATCH)), mlp, context_shape=(3,)), LULinear(PATCH)])
    ),
    "squeezed": lambda: Squeezed((1, 2, 4), lambda shape: Coupling(ChannelHalves(shape), mlp, context_shape=(3,))),
    **{
        f"named-{name}": partial(lambda name: named(name, {"hidden": (6,)})(EVEN, (3,)), name)
        for name in ("coupling", "additive", "spline", "logistic-mixture", "convolution", "glow", "maf", "iaf",
                     "spline-maf")
    },
}  # fmt: skip


def coupling_of(partition, shape, context):
    """Convolutional couplings that read a context."""
    return Coupling(partition(shape), conv, context_shape=context)


@pytest.mark.parametrize("name", BIJECTORS)
def test_laws(name):
    bijector = randomize(BIJECTORS[name]())
    check_laws(bijector, 0.7 * torch.randn(3, *bijector.event_shape, dtype=torch.float64))


@pytest.mark.parametrize("name", CONDITIONAL)
def test_laws_with_a_context(name):
    bijector = randomize(CONDITIONAL[name]())
    x = 0.7 * torch.randn(3, *bijector.event_shape, dtype=torch.float64)
    context = torch.randn(3, *bijector.context_shape, dtype=torch.float64, requires_grad=True)
    check_laws(bijector, x, context)
    y, log_det = bijector(x, context)
    (gradient,) = torch.autograd.grad((y**2).sum() + log_det.sum(), context)
    assert (gradient != 0).all()  # every number of it counts
    with pytest.raises(ValueError, match="Expected a context"):
        bijector(x)
    with pytest.raises(ValueError, match="Expected a context"):
        bijector.inverse(x, context[:, :-1])


def extremes(bijector, dtype):
    """Samples of huge, tiny, repeated and whole values, on knots of splines too, and some far beside ordinary ones."""
    n = math.prod(bijector.event_shape)
    ordinary = torch.randn(6, n)
    rows = [s * ordinary for s in (1e-30, 1e-3, 1.0, 30.0, 1e3, 1e4)]
    rows += [torch.full((1, n), v) for v in (0.0, 1.5, -1.5, 4.0, -4.0, 1.0, 1e4, -1e4)]
    rows.append(torch.where(ordinary > 0.5, 1e4 * ordinary, ordinary))
    rows.append(torch.arange(n).remainder(9).sub(4).float()[None])  # knots of equal bins
    return torch.cat(rows).clamp(-1e4, 1e4).view(-1, *bijector.event_shape).to(dtype)


MIXING = ("squeezed", "named-glow")
"""Sums of values of 1e4 cancel to small ones with an error of 1e-3 in single precision, which a coupling then reads."""


@pytest.mark.parametrize("start", ["as made", "random"])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("name", [name for name in BIJECTORS if name != "dense"])  # whose sinh no format holds
def test_extreme_values(name, dtype, close, start):
    """Both directions stay finite and undo each other, as far as the numbers that pass through have digits for it."""
    bijector = BIJECTORS[name]()
    if start == "random":
        randomize(bijector, 0.2)
    bijector.to(dtype)
    close = 1e-2 if name in MIXING and start == "random" and dtype == torch.float32 else close
    x = extremes(bijector, dtype).requires_grad_()
    for there, back in ((bijector, bijector.inverse), (bijector.inverse, bijector)):
        if name == "asinh" and there == bijector.inverse:
            x = x.detach().clamp(-80, 80).requires_grad_()  # sinh
        y, log_det = there(x)
        again, opposite = back(y)
        size = torch.maximum(x.abs(), y.abs()).flatten(1).amax(1).detach()
        error = (again - x).abs().flatten(1).amax(1)
        assert (error <= close * size.clamp(min=1)).all()
        assert ((log_det + opposite).abs() <= 10 * close * size.clamp(min=1)).all()
        wanted = [x, *bijector.parameters()]
        for gradient in torch.autograd.grad(y.sum() + log_det.sum() + opposite.sum(), wanted, allow_unused=True):
            assert gradient is None or gradient.isfinite().all()


@pytest.mark.parametrize("name", BIJECTORS)
def test_zero_size_batch(name):
    bijector = randomize(BIJECTORS[name]())
    x = torch.zeros(0, *bijector.event_shape, dtype=torch.float64)
    y, log_det = bijector(x)
    assert (y.shape, log_det.shape) == (x.shape, (0,))


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize(("n", "hidden"), [(2, (1,)), (7, (3,)), (7, (4, 30)), (50, (8, 8))])
def test_masks_of_an_autoregressive_network(n, hidden, context):
    """Output i depends on no input from i on; the last one on inputs up to the last but one, and all on the context."""
    network = randomize(MADE(n, 2, hidden, context))
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x[None])[0], torch.randn(n + context).double())
    reads = (jacobian != 0).any(0)
    assert not reads[:, :n].triu().any()
    if min(hidden) > 1:
        assert reads[-1, n - 2]
        assert reads[:, n:].all()


@pytest.mark.parametrize("transform", [LogisticMixture(2), RationalQuadratic(3)])
def test_derivatives_of_inverses(transform):
    params = 0.5 * torch.randn(2, transform.n_params, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(transform.inverse, (y, params), atol=1e-6)
    assert torch.autograd.gradgradcheck(transform.inverse, (y, params), atol=1e-5)


def test_copies_of_an_orthogonal_map():
    bijector = Orthogonal(EVEN)
    next(bijector.parameters()).requires_grad_(False)
    for other in (copy.deepcopy(bijector), pickle.loads(pickle.dumps(bijector))):
        assert [p.requires_grad for p in other.parameters()] == [False]
        x = torch.randn(2, *EVEN)
        torch.testing.assert_close(other(x)[0], bijector(x)[0])
    state = torch.get_rng_state()
    pickle.loads(pickle.dumps(bijector))
    assert torch.equal(torch.get_rng_state(), state)


def test_squeezed_reads_around_borders_if_what_is_within_does():
    shape = (1, 4, 4)
    around = Squeezed(shape, lambda s: Coupling(ChannelHalves(s), partial(conv, padding="circular")))
    assert around.wraps
    assert not Squeezed(shape, lambda s: Coupling(ChannelHalves(s), conv)).wraps
    with pytest.raises(ValueError, match="Expected a bijector of one context for all sites"):
        Squeezed(shape, lambda s: Coupling(ChannelHalves(s), conv, context_shape=(1, 2, 2)))


def test_windows_of_chains():
    field = Coupling(ChannelHalves(EVEN), conv)
    assert Chain([ActNorm(EVEN), field, ActNorm(EVEN), field]).receptive_kernel == (17, 17)
    assert Chain([field, Coupling(ChannelHalves(EVEN), mlp)]).receptive_kernel is None
    assert Invert(field).receptive_kernel == (9, 9)


@pytest.mark.parametrize("halves", ["checkerboard", "channels"])
@pytest.mark.parametrize("layers", [1, 2])
def test_receptive_kernel_is_what_the_jacobian_says(halves, layers):
    """On a lattice with room for more, what a site depends on fills its kernel from border to border."""
    reach = 2 * 2 * layers  # two conditioners of radius 2 in each layer
    shape = (2, 2 * reach + 3, 2 * reach + 5)
    partition = Masked(checkerboard(shape)) if halves == "checkerboard" else ChannelHalves(shape)
    f = randomize(Chain([Coupling(partition, conv) for _ in range(layers)]))
    assert f.receptive_kernel == (1 + 2 * reach,) * 2
    row = column = reach + 1  # a site of the half that is updated last
    x = torch.randn(1, *shape, dtype=torch.float64, requires_grad=True)
    dependence = torch.zeros(shape[1:])
    for channel in range(2):
        (gradient,) = torch.autograd.grad(f(x)[0][0, channel, row, column], x)
        dependence += gradient[0].abs().sum(0)
    rows, columns = dependence.nonzero().T
    assert (rows.min(), rows.max()) == (row - reach, row + reach)
    assert (columns.min(), columns.max()) == (column - reach, column + reach)


def test_couplings_start_as_the_identity():
    for make in (mlp, paper):
        x = torch.randn(4, *PATCH)
        y, log_det = Coupling(Gather(checkerboard(PATCH)), make)(x)
        torch.testing.assert_close(y, x)
        assert not log_det.any()


@pytest.mark.parametrize("rows", [1, 40])  # fewer and more than the outputs of a layer
def test_networks_side_by_side_are_the_papers(rows):
    """A plain loop over App. A of the paper gives the same, whatever moved between the products."""
    networks = randomize(StackedMLPs(2, 6, (5, 4), 3))
    networks.swishes[0].slope.data[0, 0, 0, :2] = 0  # x sigmoid(0 x) = x / 2
    x = torch.randn(2, rows, 6, dtype=torch.float64)
    for index in range(2):
        stream = x[index]
        for block in range(3):
            value = stream
            for swish, linear in zip(networks.swishes, networks.linears, strict=True):
                value = value * torch.sigmoid(swish.slope[block, index] * value)
                v, g = linear.weight_v[block, index], linear.weight_g[block, index]
                value = value @ (g * v / v.norm(dim=0)) + linear.bias[block, index]
            stream = (stream + value) / math.sqrt(2)
        expected = stream * networks.scale[index]
        torch.testing.assert_close(
            next(StackedMLPs.prepare([networks], rows))(x)[index], expected, atol=1e-12, rtol=1e-12
        )
        half = x[index] * (torch.arange(6) < 3)  # the second half is zero, and only the second is asked for
        narrowed = next(StackedMLPs.prepare([networks], rows)).narrowed(slice(None, 3), slice(3, None))
        whole = next(StackedMLPs.prepare([networks], rows))(half.expand(2, -1, -1))[index, :, 3:]
        torch.testing.assert_close(narrowed(half.expand(2, -1, -1))[index], whole, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize(("small", "room"), [(0, 2**20), (2**15, 2**20), (2**15, 500), (2**15, 1)])
@pytest.mark.parametrize("rows", [1, 40])
def test_couplings_together_are_those_of_a_chain(rows, small, room, gradients, monkeypatch):
    """However many weights are brought together or prepared at once, and where neighbours differ in kind or size."""
    monkeypatch.setattr("mera.bijectors.layers.SMALL", small)
    monkeypatch.setattr("mera.bijectors.stacked.ROOM", room)
    partition = Gather(checkerboard(PATCH))
    members = together(partition, paper, partial(paper, hidden=(7,)), mlp, partial(paper, blocks=1), layers=2)
    members += together(partition, patch, layers=3)
    couplings, x = randomize(Couplings(members), 0.2), torch.randn(rows, *PATCH, dtype=torch.float64)
    couplings.members[3].requires_grad_(False)
    found = []
    for watched in (False, True):
        if watched:
            couplings.members[0].register_forward_hook(lambda *_: None)
        with torch.set_grad_enabled(gradients):
            y, log_det = couplings(x)
            outputs = [y, log_det, *couplings.inverse(y)]
        if gradients:
            wanted = [parameter for parameter in couplings.parameters() if parameter.requires_grad]
            outputs += torch.autograd.grad((y.pow(2).sum(), log_det.sum()), wanted)
        found.append(outputs)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(found[0][2], x)


@pytest.mark.parametrize(
    "other", [lambda: ActNorm(PATCH), lambda: Coupling(Gather(~checkerboard(PATCH)), paper), lambda: Dense(PATCH)]
)
def test_a_member_may_be_exchanged(other):
    for index in (0, 1):
        couplings = Couplings(together(Gather(checkerboard(PATCH)), paper))
        couplings.members[index] = other()
        check_laws(randomize(couplings), torch.randn(3, *PATCH, dtype=torch.float64))


def test_fixed_weights_of_networks_without_any():
    class Still(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x, x], 1)

    x = torch.randn(3, *PATCH)
    coupling = Coupling(Gather(checkerboard(PATCH)), lambda reads, writes, n_params: Still())
    with torch.no_grad(), mera.fixed_weights():
        torch.testing.assert_close(coupling.inverse(coupling(x)[0])[0], x)


def test_fixed_weights_are_prepared_once():
    members = together(Gather(checkerboard(PATCH)), paper, layers=2)
    couplings, x = randomize(Couplings(members)), torch.randn(5, *PATCH, dtype=torch.float64)
    scale = members[1].networks[0].networks.scale
    with torch.no_grad():
        before = couplings(x)[0]
        with mera.fixed_weights():
            few = couplings(x[:2])[0]
            couplings(x)
            scale.mul_(2)  # what the context says that nobody does
            assert torch.equal(couplings(x)[0], before)
            assert torch.equal(couplings(x[:2])[0], few)
            with mera.fixed_weights():
                assert torch.equal(couplings(x)[0], before)
            with torch.enable_grad():
                after = couplings(x)[0]
        assert not torch.equal(after, before)
        torch.testing.assert_close(couplings(x)[0], after.detach())
    after.sum().backward()
    assert scale.grad is not None


def test_fixed_weights_are_those_of_one_thread_and_dtype():
    members = together(Gather(checkerboard(PATCH)), paper, layers=2)
    couplings, x = randomize(Couplings(members)), torch.randn(5, *PATCH, dtype=torch.float64)
    with torch.no_grad(), mera.fixed_weights():
        before = couplings(x)[0]
        with torch.enable_grad():
            couplings(x)[0].sum().backward()  # a gradient is asked for: nothing that was kept will do
        couplings.requires_grad_(False)
        with torch.enable_grad():
            y = x.clone().requires_grad_()
            (of_data,) = torch.autograd.grad(couplings(y)[0].sum(), y)
        members[1].networks[0].networks.scale.mul_(2)
        found = []
        thread = Thread(target=lambda: found.append(couplings(x)[0]))
        thread.start()
        thread.join()
        torch.testing.assert_close(couplings.float()(x.float())[0].double(), found[0], atol=1e-4, rtol=1e-4)
        assert torch.equal(couplings.double()(x)[0], before)
    assert not torch.allclose(found[0], before)
    y = x.clone().requires_grad_()
    members[1].networks[0].networks.scale.div_(2)
    torch.testing.assert_close(torch.autograd.grad(couplings(y)[0].sum(), y)[0], of_data, atol=1e-6, rtol=1e-6)


def test_log_scale_is_bounded():
    transform = Affine(1.5)
    params = torch.tensor([-1e6, -1.0, 0.0, 1e6]).view(1, 1, 4).expand(1, 2, 4)
    _, log_scale = transform(torch.zeros(1, 4), params)
    assert log_scale.abs().max() <= 1.5
    assert log_scale[0, 0] == -1.5


def test_logit_laws_inside_the_interval():
    check_laws(Logit(0.9).double(), torch.rand(3, *PATCH, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dequantize_returns_every_image(dtype):
    images = torch.arange(256).to(torch.uint8).repeat(64).view(64, 1, 16, 16)
    preprocess = Chain([Dequantize(), Logit()]).to(dtype)
    x, log_det = preprocess(images)
    assert (x.dtype, log_det.dtype) == (dtype, dtype)
    numbers, volume = preprocess.members[0](images)
    assert ((numbers >= 0) & (numbers < 1)).all()
    torch.testing.assert_close(volume, torch.full_like(volume, -256 * math.log(256)))
    assert torch.equal(preprocess.members[0].inverse(numbers)[0], images)
    assert (preprocess.inverse(x)[0].int() - images.int()).abs().max() <= 1  # rounding at a level's very edge
    assert (preprocess.inverse(x)[0] != images).double().mean() < 1e-3


@pytest.mark.parametrize("per_channel", [False, True])
def test_initialize_whitens_a_batch_and_is_saved(per_channel):
    x = torch.randn(500, *PATCH) * (1 + torch.rand(PATCH)) + 3 * torch.randn(PATCH)  # each variable its own way
    norm = ActNorm(PATCH, per_channel)
    y = norm.initialize(x)
    axes = (0, 2, 3) if per_channel else 0
    torch.testing.assert_close(y.mean(axes), torch.zeros_like(y.mean(axes)), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(axes, correction=0), torch.ones_like(y.mean(axes)), atol=1e-4, rtol=0)
    other = ActNorm(PATCH, per_channel)
    other.load_state_dict(norm.state_dict())
    before = other.shift.clone()
    other.initialize(torch.randn(9, *PATCH))
    assert torch.equal(other.shift, before)


def test_every_public_bijector_is_in_the_table():
    public = {c for c in vars(bijectors).values() if isinstance(c, type) and issubclass(c, Bijector)} - {Bijector}
    covered = {type(make()) for make in BIJECTORS.values()} | {Logit, Dequantize}
    assert public <= covered


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: checkerboard((4,)), r"Expected an event shape of channels and sites; got \(4,\)"),
        (lambda: ResidualMLP((4,), (4,), 2, hidden=()), r"Expected at least one hidden width; got \(\)"),
        (lambda: Chain([]), "Expected at least one bijector"),
        (lambda: Couplings([]), "Expected at least one bijector"),
        (lambda: Couplings([Coupling(ChannelHalves(PATCH), mlp) for _ in range(2)]), "Expected couplings over one"),
        (lambda: Chain([ActNorm((2, 3)), ActNorm((3, 2))]), r"Expected event shape \(2, 3\) for member 1"),
        (lambda: Gather(torch.ones(2, 2)), "Expected a mask of dtype bool"),
        (lambda: Gather(torch.ones(2, 2, dtype=torch.bool)), "leaves variables on both sides"),
        (lambda: ChannelHalves((1, 4, 4)), "Expected at least 2 channels"),
        (lambda: Coupling(ChannelHalves((3, 4)), patch), "halves that are vectors of one length, and no context; got"),
        (lambda: ResidualConv((1, 4), (1, 4), 2, kernel=2), "Expected an odd kernel"),
        (lambda: Logit(1.0), "Expected a constraint between 0 and 1"),
        (lambda: Logit("x"), "Expected a constraint as a positive number; got 'x'"),
        (lambda: Dequantize(257), "Expected from 2 to 256 levels; got 257"),
        (lambda: Dequantize(2.5), "Expected levels as an integer >= 2; got 2.5"),
        (lambda: Affine(math.nan), "the bound of the log-scale as a number above 0, up to 20; got nan"),
        (lambda: Affine(True), "the bound of the log-scale as a number above 0, up to 20; got True"),
        (lambda: RationalQuadratic(1), "Expected bins as an integer >= 2; got 1"),
        (lambda: RationalQuadratic(bound=1e300), "Expected the bound as a number above 0, up to 10000; got 1e"),
        (lambda: LogisticMixture(True), "Expected components as an integer >= 1; got True"),
        (lambda: LogisticMixture(max_mean=math.inf), "Expected the bound of the means"),
        (lambda: LeakyReLU(PATCH, -1), "Expected the slope as a number above 0"),
        (lambda: LULinear(PATCH, per_site="x"), "Expected per_site as True or False; got 'x'"),
        (lambda: LULinear((1, 4)), "Expected at least 2 variables to mix"),
        (lambda: Orthogonal(PATCH, how="x"), "Expected a parametrisation among"),
        (lambda: Permutation(LINE, torch.tensor([0, 0])), "Expected a permutation of 0 to 1"),
        (lambda: Permutation(LINE, torch.tensor([True, False])), "Expected a permutation of 0 to 1"),
        (lambda: named("permutation", {"order": "ab"})(LINE), "Expected a permutation as a list of numbers; got 'ab'"),
        (lambda: named("coupling", {"mask": ["a"]})(LINE), "Expected a mask that fills an event"),
        (lambda: named("coupling", {"mask": [[True] * 4] * 2})(LINE), "Expected a mask that fills an event"),
        (lambda: named("coupling", {"layers": True})(LINE), "Expected layers as an integer >= 1; got True"),
        (lambda: named("coupling", {"residual_blocks": -1})(LINE), "Expected residual blocks as an integer >= 0"),
        (lambda: named("coupling", {"norm": "x"})(LINE), "Expected norm as True or False; got 'x'"),
        (lambda: named("coupling", {"hidden": (0,)})(LINE), "Expected a hidden width as an integer >= 1; got 0"),
        (lambda: named("glow", {"padding": "x"})(EVEN), "Expected a padding among"),
        (lambda: named("convolution", {"padding": "circular", "kernel": 7})(EVEN), "goes around once at most"),
        (lambda: Autoregressive((1, 1)), "Expected at least 2 variables, or a context"),
        (lambda: Haar((1, 2, 4)), "Expected patches of 2 sites in each dimension"),
        (lambda: Squeezed((1, 3), ActNorm), "Expected sites that the stride 2 divides"),
        (lambda: Conditioned(EVEN, 3, partial(coupling_of, ChannelHalves)), "Expected from 1 to 2 passive channels"),
        (lambda: Conditioned(EVEN, 1, lambda shape, context: ActNorm(shape)), "Expected a bijector of context"),
        (lambda: Coupling(Gather(checkerboard(PATCH)), patch, context_shape=(2,)), "length, and no context"),
        (lambda: Affine(0.0), "Expected the bound of the log-scale as a number above 0, up to 20; got 0.0"),
    ],
)
def test_bad_input_says_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()
