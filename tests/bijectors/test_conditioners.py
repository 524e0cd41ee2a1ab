"""Couplings and how far they read; conditioner networks, compared with the formulas of the paper."""

import math
from functools import partial

import pytest
import torch

from mera.bijectors import (
    ActNorm,
    Affine,
    Chain,
    ChannelHalves,
    Conditioner,
    Coupling,
    Gather,
    Invert,
    Masked,
    PatchMLPs,
    ResidualConv,
    SeparateMLPs,
    checkerboard,
)
from tests.helpers.laws import randomize
from tests.tables.bijectors import EVEN, PATCH, conv, mlp, paper

NETWORKS = {
    "paper": lambda: SeparateMLPs((6,), (6,), 2, hidden=(5, 4), blocks=2),
    "paper-one-block": lambda: SeparateMLPs((6,), (6,), 2, hidden=(5,), blocks=1),
    "paper-one-layer": lambda: SeparateMLPs((6,), (6,), 2, hidden=(), blocks=3),
    "paper-odd-halves": lambda: SeparateMLPs((5,), (4,), 3, hidden=(7, 4), blocks=3),
    "paper-context": lambda: SeparateMLPs((6 + 2,), (6,), 2, hidden=(5, 4), blocks=2),
    "paper-lattice": lambda: SeparateMLPs((2, 3), (1, 2, 3), 2, hidden=(5,), blocks=2),
    "authors": lambda: PatchMLPs((3,), (3,), 2, hidden=(5, 4), blocks=2),
    "authors-one-block": lambda: PatchMLPs((3,), (3,), 2, hidden=(5, 4), blocks=1),
    "authors-four-blocks": lambda: PatchMLPs((3,), (3,), 1, hidden=(29,), blocks=4),
}


def in_shape(network):
    return (2, 3) if getattr(network, "out_shape", None) == (1, 2, 3) else (network.in_features,)


def outputs_and_gradients(network, call, x, weights):
    """Values, for both halves where the network reads both, and all gradients."""
    x = x.clone().requires_grad_(torch.is_grad_enabled())
    values = [call(x, half) for half in (0, 1)] if network.shared_between_halves else [call(x)]
    if not torch.is_grad_enabled():
        return values
    loss = sum((value * torch.linspace(-1, 2, value.numel()).view_as(value)).sin().sum() for value in values)
    return values + list(torch.autograd.grad(loss, [x, *weights]))


def plain(network):
    """The formula of App. A and Fig. 7, a loop over networks, blocks and layers."""

    def stack(networks, x):
        outputs = []
        for index, stream in enumerate(x):
            for block in range(networks.blocks):
                value = stream
                for swish, linear in zip(networks.swishes, networks.linears, strict=True):
                    value = value / (1 + torch.exp(-swish.slope[block, index] * value))
                    value = layer(linear, block, index, value)
                stream = (stream + value) / math.sqrt(2)
            outputs.append(stream * networks.scale[index])
        return torch.stack(outputs, 1)

    def layer(linear, block, index, x):
        v, g = linear.weight_v[block, index], linear.weight_g[block, index]
        return x @ (g * v / v.square().sum(0).sqrt()) + linear.bias[block, index]

    def separate(x):
        copies = [x.flatten(1)] * network.n_params
        if network.stem is not None:
            copies = [layer(network.stem, 0, index, x) for index, x in enumerate(copies)]
        return stack(network.networks, copies).unflatten(2, network.out_shape)

    def of_patch(x, half):
        zeros = torch.zeros_like(x)
        patch = torch.cat([x, zeros] if half == 0 else [zeros, x], 1)
        return stack(network.networks, [patch] * network.n_params).chunk(2, 2)[1 - half]

    return of_patch if network.shared_between_halves else separate


@pytest.mark.parametrize("mode", ["training", "frozen", "no gradients", "a slope of zero"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_the_formula_of_the_paper(name, mode):
    """Also x sigmoid(0 x) = x / 2, where the folded layer divides by the slope."""
    network = randomize(NETWORKS[name]())
    network.requires_grad_(mode != "frozen")
    weights = list(network.parameters()) if mode == "training" else []
    if mode == "a slope of zero":
        for swish in network.networks.swishes:
            swish.slope.data[0, 0, 0, :2] = 0
        weights = [weight for key, weight in network.named_parameters() if "slope" not in key]
    x = torch.randn(9, *in_shape(network), dtype=torch.float64)
    with torch.set_grad_enabled(mode != "no gradients"):
        expected = outputs_and_gradients(network, plain(network), x, weights)
        found = outputs_and_gradients(network, network, x, weights)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_a_conditioner_of_ones_own():
    """A shared one is told the half; a plain module is one without attributes."""

    class Shared(Conditioner):
        shared_between_halves = True

        def __init__(self):
            super().__init__()
            self.halves = []

        def forward(self, x, half):
            self.halves.append(half)
            return torch.stack([0 * x, torch.full_like(x, half)], 1)

    network = Shared()
    coupling = Coupling(Gather(checkerboard(PATCH)), lambda in_shape, out_shape, n_params: network)
    x = torch.randn(2, *PATCH)
    y, _ = coupling(x)
    torch.testing.assert_close(y, x + checkerboard(PATCH))  # the first half moves by what is read of half 1
    torch.testing.assert_close(coupling.inverse(y)[0], x)
    assert network.halves == [0, 1, 1, 0]


def test_log_slopes_that_would_broadcast_are_refused():
    class OneSlope(Affine):
        def forward(self, x, params):
            y, log_slope = super().forward(x, params)
            return y, log_slope[:, :1]

    coupling = Coupling(Gather(checkerboard(PATCH)), mlp, OneSlope())
    with pytest.raises(ValueError, match=r"Expected variables and log-slopes .* from OneSlope"):
        coupling(torch.randn(2, *PATCH))


@pytest.mark.parametrize("name", ["paper", "authors"])
def test_gradients_in_mixed_precision(name):
    network = randomize(NETWORKS[name]()).float()
    x = torch.randn(40, *in_shape(network))
    half = (0,) if network.shared_between_halves else ()
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = network(x, *half)
        gradients.append(torch.autograd.grad(value.float().square().sum(), list(network.parameters())))
    for exact, mixed in zip(*gradients, strict=True):
        assert (mixed - exact).norm() < 0.2 * exact.norm()  # slopes of activations lose most


def test_windows_of_chains():
    field = Coupling(ChannelHalves(EVEN), conv)
    assert Chain([ActNorm(EVEN), field, ActNorm(EVEN), field]).receptive_kernel == (17, 17)
    assert Chain([field, Coupling(ChannelHalves(EVEN), mlp)]).receptive_kernel is None
    assert Invert(field).receptive_kernel == (9, 9)
    around = Coupling(ChannelHalves(EVEN), partial(ResidualConv, hidden=(3,), padding="circular"))
    assert Chain([ActNorm(EVEN), around]).circular
    assert not Chain([ActNorm(EVEN), field]).circular
    fits = Chain([ActNorm(EVEN, per_channel=True), around]), Chain([ActNorm(EVEN, per_channel=True), ActNorm(EVEN)])
    assert [chain.fits_any_lattice for chain in fits] == [True, False]


@pytest.mark.parametrize("halves", ["checkerboard", "channels"])
@pytest.mark.parametrize("layers", [1, 2])
def test_receptive_kernel_is_what_the_jacobian_says(halves, layers):
    """On a lattice with room for more, what a site depends on fills its kernel from border to border."""
    reach = 2 * 2 * layers  # two conditioners of radius 2 in each layer
    shape = (2, 2 * reach + 3, 2 * reach + 5)
    partition = Masked(shape) if halves == "checkerboard" else ChannelHalves(shape)
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


def test_log_scale_is_bounded():
    transform = Affine(1.5)
    params = torch.tensor([-1e6, -1.0, 0.0, 1e6]).view(1, 1, 4).expand(1, 2, 4)
    _, log_scale = transform(torch.zeros(1, 4), params)
    assert log_scale.abs().max() <= 1.5
    assert log_scale[0, 0] == -1.5
