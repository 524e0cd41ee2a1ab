"""The table of laws for every bijector, and what a user is told."""

import copy
import inspect
import math
from functools import partial

import pytest
import torch

import mera
from mera import bijectors
from mera.bijectors import (
    ActNorm,
    Affine,
    Bijector,
    BlockSpins,
    Chain,
    ChannelHalves,
    Coupling,
    Gather,
    ImagePreprocess,
    Invert,
    LocalBijector,
    LULinear,
    RationalQuadratic,
    by_name,
    catalogue,
    checkerboard,
    circular,
    named,
    with_noise,
    wrap,
)
from tests.helpers.laws import check_laws, randomize
from tests.tables.bijectors import BIJECTORS, CONDITIONAL, EVEN, LINE, NAMED, PATCH, mlp, patch

PUBLIC = {c for c in vars(bijectors).values() if isinstance(c, type) and issubclass(c, Bijector)} - {
    Bijector,
    LocalBijector,
}
OWN_MODULES = {cls.__module__ for cls in PUBLIC} | {m.__name__ for m in (catalogue, circular)}
"""Modules with bijectors of this package; tests and examples register others."""


@pytest.mark.parametrize("name", BIJECTORS)
def test_laws(name):
    bijector = randomize(BIJECTORS[name]())
    check_laws(bijector, 0.7 * torch.randn(3, *bijector.event_shape, dtype=torch.float64))
    empty = torch.zeros(0, *bijector.event_shape, dtype=torch.float64)
    y, log_det = bijector(empty)
    assert (y.shape, log_det.shape) == (empty.shape, (0,))


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


MIXING = ("squeezed", "named-glow-steps", "named-block-spins", "named-spline")
"""Sums of values of 1e4 cancel to small ones with an error of 1e-3 in single precision, which a coupling then reads."""


UNFIT = ("dense", "frames-3d")
"""No format holds the sinh of the first; neighbours that cancel to rounding errors give the other no direction."""


@pytest.mark.parametrize("start", ["as made", "random"])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-3), (torch.float64, 1e-9)])
@pytest.mark.parametrize("name", [name for name in BIJECTORS if name not in UNFIT])
def test_extreme_values(name, dtype, close, start):
    """Both directions stay finite and undo each other, as far as the numbers that pass through have digits for it."""
    bijector = BIJECTORS[name]()
    if start == "random":
        randomize(bijector, 0.2)
    bijector.to(dtype)
    close = 1e-2 if name in MIXING and start == "random" and dtype == torch.float32 else close
    x = extremes(bijector, dtype)
    x = (wrap(x) if any(getattr(part, "of_angles", False) for part in bijector.modules()) else x).requires_grad_()
    for there, back in ((bijector, bijector.inverse), (bijector.inverse, bijector)):
        y, log_det = there(x)
        again, opposite = back(y)
        size = torch.maximum(x.abs(), y.abs()).flatten(1).amax(1).detach()
        error = (again - x).abs().flatten(1).amax(1)
        assert (error <= close * size.clamp(min=1)).all()
        assert ((log_det + opposite).abs() <= 10 * close * size.clamp(min=1)).all()
        wanted = [x, *bijector.parameters()]
        for gradient in torch.autograd.grad(y.sum() + log_det.sum() + opposite.sum(), wanted, allow_unused=True):
            assert gradient is None or gradient.isfinite().all()


@pytest.mark.parametrize("method", ["forward", "inverse"])
@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (3, 3, 4, 4), (3, 2, 4), (2, 4, 4)])
@pytest.mark.parametrize("name", ["actnorm", "coupling", "convolution", "linear"])
def test_events_of_another_shape_are_refused(name, shape, method):
    """An index or a broadcast would accept some of them, and return numbers."""
    with pytest.raises(ValueError, match=r"^\w+: Expected events \(B, 2, 4, 4\); got "):
        getattr(named(name)((2, 4, 4)), method)(torch.randn(shape))


class Plain(Bijector):
    """A user's bijector, none of whose methods has an argument for a context."""

    def forward(self, x):
        return 2 * x, x.flatten(1).new_full(x.shape[:1], math.log(2) * x[0].numel())

    def inverse(self, y):
        return y / 2, -self(y)[1]

    def initialize(self, x):
        return 2 * x


def test_a_node_of_a_bijector_without_context_starts_from_data():
    layout = mera.Layout((4,), 2)
    layout.latent(layout.local(layout.input, Plain, kernel=2))
    mera.Flow(layout).initialize(torch.randn(3, 2, 4))


@pytest.mark.parametrize("context_shape", [None, (3,)])
def test_methods_of_a_bijector_without_context_may_leave_out_the_argument(context_shape):
    shape = (2, 2, 4)
    coupling = partial(Coupling, conditioner=mlp, context_shape=context_shape)
    plain = Chain([Plain(shape), coupling(ChannelHalves(shape)), Invert(Plain(shape))])
    chain = randomize(Chain([Plain(shape), plain, Invert(Plain(shape))]))
    x = torch.randn(3, *shape, dtype=torch.float64)
    context = None if context_shape is None else torch.randn(3, *context_shape, dtype=torch.float64)
    check_laws(chain, x, context)
    assert chain.initialize(x, context).shape == x.shape

    def factory(event_shape, context_shape=None):
        return Chain([Plain(event_shape), coupling(ChannelHalves(event_shape)), Plain(event_shape)])

    flow = randomize(mera.build("rgflow", L=4, m=2, channels=2, bijector=factory, context=3 if context_shape else None))
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    arguments = () if context is None else (context[:1],)
    flow.initialize(x, *arguments)
    expected = flow.log_prob(x, *arguments)
    flow.checkpoint = True
    torch.testing.assert_close(flow.log_prob(x, *arguments), expected)
    torch.testing.assert_close(flow.inverse(flow(x, *arguments)[0], *arguments)[0], x)
    restricted = flow.restrict(x[:1], ((0, 3), (0, 4)), *arguments)
    torch.testing.assert_close(restricted.log_prob(restricted.pixels), expected[:1])


@pytest.mark.parametrize("transform", [Affine(), RationalQuadratic(3)])
def test_derivatives_of_inverses(transform):
    params = 0.5 * torch.randn(2, transform.n_params, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(transform.inverse, (y, params), atol=1e-6)
    assert torch.autograd.gradgradcheck(transform.inverse, (y, params), atol=1e-5)


@pytest.mark.parametrize("make", [ActNorm, LULinear, BlockSpins])
def test_log_dets_of_half_precision_are_summed_in_single(make):
    """Sums of many terms in half precision would lose whole terms."""
    torch.manual_seed(0)
    shape = (24, 32, 32)
    half = randomize(make(shape)).bfloat16()
    exact = copy.deepcopy(half).double()
    x = (0.05 + 0.3 * torch.rand(2, *shape)).bfloat16()
    for found, expected in ((half(x), exact(x.double())), (half.inverse(x), exact.inverse(x.double()))):
        assert found[1].dtype == torch.float32
        torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-4, atol=0)


def test_levels_with_the_least_and_the_largest_noise():
    """They come back in single precision; noise of half precision stays below the next level."""
    numbers = torch.arange(256)[:, None].repeat(1, 4)
    noise = torch.tensor([0.0, 2**-24, 0.5, 1 - 2**-24]).expand(256, 4)
    x = with_noise(numbers, noise) / 256
    assert torch.equal(torch.floor(256 * x + 2**-16).byte(), numbers.byte())  # as `ImagePreprocess.inverse` rounds
    y, _ = ImagePreprocess().double()(with_noise(numbers, noise.double()))
    assert torch.equal(ImagePreprocess().inverse(y)[0], numbers.byte())
    for dtype in (torch.float16, torch.bfloat16):
        noise = torch.tensor([0.99, 1.0 - torch.finfo(dtype).eps / 2]).to(dtype).expand(256, 2)
        assert (with_noise(numbers[:, :2].byte(), noise) < numbers[:, :2] + 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dequantize_returns_every_image(dtype):
    images = torch.arange(256).to(torch.uint8).repeat(64).view(64, 1, 16, 16)
    preprocess = ImagePreprocess().to(dtype)
    x, log_det = preprocess(images)
    assert (x.dtype, log_det.dtype) == (dtype, dtype)
    p = torch.sigmoid(x.double())
    assert ((p >= 0.05) & (p < 0.95 + 1e-6)).all()
    volume = (0.9 / 256 / (p * (1 - p))).log().flatten(1).sum(1)
    torch.testing.assert_close((log_det.double(), -preprocess.inverse(x)[1].double()), (volume, volume))
    assert (preprocess.inverse(x)[0].int() - images.int()).abs().max() <= 1  # rounding at a level's very edge
    assert (preprocess.inverse(x)[0] != images).double().mean() < 1e-3


@pytest.mark.parametrize("kind", [bijectors.ActNorm, bijectors.BlockSpins, bijectors.Spectral])
def test_frozen_layers_do_not_start_from_data(kind):
    frozen = kind(PATCH).requires_grad_(False)
    before = copy.deepcopy(frozen.state_dict())
    frozen.initialize(3 * torch.randn(9, *PATCH) + 1)
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    frozen.requires_grad_(True).initialize(3 * torch.randn(9, *PATCH) + 1)
    assert frozen.initialized


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
    covered = {type(make()) for make in (*BIJECTORS.values(), *CONDITIONAL.values())} | {ImagePreprocess}
    assert covered >= PUBLIC


def test_every_name_is_in_the_table():
    registered = {name for name in bijectors.names() if by_name.factory(name).__module__ in OWN_MODULES}
    assert registered == set(NAMED)
    assert len({named("coupling"), named("coupling"), named("coupling(layers=2)")}) == 2  # layouts and plans hold them


OTHER = {"per_channel": True, "layers": 3, "residual_blocks": 3, "hidden": (7,), "norm": False, "mask": "channels",
         "padding": "circular", "kernel": 5, "transform": "spline(bins=3)", "mix_channels": False, "passive": 2,
         "conditioner": "paper", "per_site": False, "identity": True, "bins": 4, "bound": 0.5, "window": 1,
         "together": True}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_every_option_changes_the_bijector(name):
    def described(**options):
        torch.manual_seed(0)
        bijector = randomize(
            named(name, ({"passive": 1} if name in ("details", "split-prior") else {}) | options)((4, 6, 6)), 0.1
        )
        x = torch.linspace(-2, 2, 288, dtype=torch.float64).view(2, 4, 6, 6)
        return {key: tensor.shape for key, tensor in bijector.state_dict().items()}, bijector(x)[0].tolist()

    before = described()
    assert described() == before
    assert not any(key.endswith(("read", "changed")) for key in before[0])  # in a file, parameters alone
    for option in set(inspect.signature(by_name.factory(name)).parameters) - {"event_shape", "context_shape"}:
        assert described(**{option: OTHER[option]}) != before, option


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: checkerboard((4,)), r"Expected an event shape of channels and sites; got \(4,\)"),
        (lambda: Chain([]), "Expected at least one bijector"),
        (lambda: Chain([ActNorm((2, 3)), ActNorm((3, 2))]), r"members of one event shape; got \(2, 3\) and"),
        (lambda: Gather(torch.ones(2, 2)), "Expected a mask of dtype bool"),
        (lambda: Gather(torch.ones(2, 2, dtype=torch.bool)), "leaves variables on both sides"),
        (lambda: ChannelHalves((1, 4, 4)), "Expected at least 2 channels"),
        (lambda: Coupling(ChannelHalves((3, 4)), patch), "halves that are vectors of one length, and no context; got"),
        (lambda: Affine(math.nan), "the bound of the log-scale as a number above 0, up to 20; got nan"),
        (lambda: RationalQuadratic(bound=1e300), "Expected the bound as a number above 0, up to 10000; got 1e"),
        (lambda: named("coupling", {"mask": ["a"]})(LINE), "Expected a mask among .*checkerboard"),
        (lambda: named("coupling", {"residual_blocks": -1})(LINE), "Expected residual blocks as an integer >= 0"),
        (lambda: named("coupling", {"norm": "x"})(LINE), "Expected norm as True or False; got 'x'"),
        (lambda: named("glow-steps", {"padding": "x"})(EVEN), "Expected a padding among"),
    ],
)
def test_bad_input_says_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()
