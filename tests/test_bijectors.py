"""The table of laws, for every bijector by itself."""

import math
from functools import partial

import pytest
import torch

from mera import bijectors
from mera.bijectors import (
    ActNorm,
    Additive,
    Affine,
    Bijector,
    Chain,
    ChannelHalves,
    Coupling,
    Dequantize,
    Gather,
    Invert,
    Logit,
    Masked,
    PatchMLPs,
    ResidualConv,
    ResidualMLP,
    SeparateMLPs,
    checkerboard,
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

BIJECTORS = {
    "gather-mlp-affine": lambda: Coupling(Gather(checkerboard(PATCH)), mlp),
    "gather-mlp-additive": lambda: Coupling(Gather(checkerboard(PATCH)), mlp, Additive()),
    "gather-paper": lambda: Coupling(Gather(checkerboard(PATCH)), paper, Affine(1.0)),
    "gather-paper-odd": lambda: Coupling(Gather(checkerboard((1, 3, 3))), paper),
    "gather-authors-one-block": lambda: Coupling(
        Gather(checkerboard(PATCH)), partial(PatchMLPs, hidden=(29, 3), blocks=1), same_networks=True
    ),
    "gather-any-mask": lambda: Coupling(Gather(torch.arange(10).view(LINE) % 3 == 0), mlp),
    "gather-authors": lambda: Coupling(Gather(checkerboard(PATCH)), patch, Affine(1.0), same_networks=True),
    "masked-additive": lambda: Coupling(Masked(checkerboard(PATCH)), mlp, Additive()),
    "halves-mlp": lambda: Coupling(ChannelHalves(PATCH), mlp),
    "halves-odd": lambda: Coupling(ChannelHalves((3, 4)), mlp),
    "conv-checkerboard-1d": lambda: Coupling(Masked(checkerboard(LINE)), conv),
    "conv-checkerboard-2d": lambda: Coupling(Masked(checkerboard(PATCH)), conv),
    "conv-checkerboard-3d": lambda: Coupling(Masked(checkerboard(CUBE)), conv),
    "conv-halves": lambda: Coupling(ChannelHalves(EVEN), partial(conv, padding="circular")),
    "conv-halves-additive": lambda: Coupling(ChannelHalves(EVEN), conv, Additive()),
    "actnorm": lambda: ActNorm(PATCH),
    "actnorm-channels": lambda: ActNorm(PATCH, per_channel=True),
    "chain": lambda: Chain([ActNorm(PATCH), Coupling(Gather(checkerboard(PATCH)), mlp), ActNorm(PATCH)]),
    "invert": lambda: Invert(Chain([ActNorm(PATCH), Coupling(ChannelHalves(PATCH), mlp)])),
    "dense": lambda: Dense(PATCH),
}


@pytest.mark.parametrize("name", BIJECTORS)
def test_laws(name):
    bijector = randomize(BIJECTORS[name]())
    check_laws(bijector, 0.7 * torch.randn(3, *bijector.event_shape, dtype=torch.float64))


@pytest.mark.parametrize("name", BIJECTORS)
def test_zero_size_batch(name):
    bijector = randomize(BIJECTORS[name]())
    x = torch.zeros(0, *bijector.event_shape, dtype=torch.float64)
    y, log_det = bijector(x)
    assert (y.shape, log_det.shape) == (x.shape, (0,))


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
                value = value @ (g * v / v.norm(dim=1, keepdim=True)).T + linear.bias[block, index]
            stream = (stream + value) / math.sqrt(2)
        expected = stream * networks.scale[index]
        torch.testing.assert_close(networks.prepare(rows)(x)[index], expected, atol=1e-12, rtol=1e-12)
        half = x[index] * (torch.arange(6) < 3)  # the second half is zero, and only the second is asked for
        narrowed = networks.prepare(rows).narrowed(slice(None, 3), slice(3, None))
        whole = networks.prepare(rows)(half.expand(2, -1, -1))[index, :, 3:]
        torch.testing.assert_close(narrowed(half.expand(2, -1, -1))[index], whole, atol=1e-12, rtol=1e-12)


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
        (lambda: Chain([ActNorm((2, 3)), ActNorm((3, 2))]), r"Expected event shape \(2, 3\) for member 1"),
        (lambda: Gather(torch.ones(2, 2)), "Expected a mask of dtype bool"),
        (lambda: Gather(torch.ones(2, 2, dtype=torch.bool)), "leaves variables on both sides"),
        (lambda: ChannelHalves((1, 4, 4)), "Expected at least 2 channels"),
        (lambda: Coupling(ChannelHalves((3, 4)), patch, same_networks=True), "halves that are vectors of one length"),
        (lambda: Coupling(ChannelHalves(PATCH), mlp, same_networks=True), "a conditioner for both directions"),
        (lambda: ResidualConv((1, 4), (1, 4), 2, kernel=2), "Expected an odd kernel"),
        (lambda: Logit(1.0), "Expected a constraint between 0 and 1"),
        (lambda: Dequantize(1), "Expected from 2 to 256 levels"),
        (lambda: Affine(0.0), "Expected a positive bound"),
    ],
)
def test_bad_input_says_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()
