"""Couplings, one and several, their networks, and how far they read."""

from functools import partial

import pytest
import torch

from mera.bijectors import (
    ActNorm,
    Affine,
    Chain,
    ChannelHalves,
    Coupling,
    Gather,
    Invert,
    Masked,
    ResidualConv,
    checkerboard,
)
from tests.helpers.laws import randomize
from tests.tables.bijectors import EVEN, PATCH, conv, mlp, paper


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


def test_log_scale_is_bounded():
    transform = Affine(1.5)
    params = torch.tensor([-1e6, -1.0, 0.0, 1e6]).view(1, 1, 4).expand(1, 2, 4)
    _, log_scale = transform(torch.zeros(1, 4), params)
    assert log_scale.abs().max() <= 1.5
    assert log_scale[0, 0] == -1.5
