"""Local field bijectors: values and log-dets by site on a box are those of the whole lattice."""

import math
from functools import partial

import pytest
import torch

import mera
from mera.bijectors import ChannelHalves, Coupling, Invert, LocalBijector, Masked, ResidualConv, named
from mera.bijectors.boxes import Box
from mera.bijectors.local import is_local, run_on_box
from mera.graph import Lattice
from tests.helpers.laws import Dense, check_laws, randomize

SMALL = {"hidden": (4,), "layers": 2, "residual_blocks": 1}
FIELDS = {
    "convolution": (SMALL, 3),
    "convolution-channels": (SMALL | {"mask": "channels"}, 3),
    "details": (SMALL | {"passive": 1}, 3),
    "corners": (SMALL, 4),
    "glow-steps": (SMALL, 2),
    "frames": ({"hidden": (4,), "window": 1, "together": True}, 8),
}
EDGES = (26, 30)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("name", FIELDS)
def test_values_on_a_box_are_those_of_the_lattice(name, periodic, inverted):
    options, channels = FIELDS[name]
    options = options | {"padding": "circular" if periodic else "zeros"}
    bijector = randomize(named(name.split("-channels")[0], options)((channels, *EDGES)))
    bijector = Invert(bijector) if inverted else bijector
    lattice = Lattice(channels, EDGES, (periodic,) * 2)
    assert is_local(bijector, lattice)
    x = torch.randn(2, channels, *EDGES, dtype=torch.float64)
    radius = [width // 2 for width in bijector.receptive_kernel]
    targets = [((11, 13), (12, 17)), ((0, 2), (28, 30)), *([((-2, 3), (29, 33))] if periodic else [])]
    for inverse in (False, True):
        y, _ = (bijector.inverse if inverse else bijector)(x)
        whole = Box.of((0, n) for n in EDGES)
        _, by_site = run_on_box(bijector, lattice, x, whole, whole, inverse=inverse)
        for target in map(Box.of, targets):
            box = target.grown(radius, lattice)
            values, log_det = run_on_box(bijector, lattice, box.take(x), box, target, inverse=inverse)
            torch.testing.assert_close(values, target.take(y))
            torch.testing.assert_close(log_det, target.take(by_site))


def test_convolutions_that_end_at_a_periodic_border_are_not_local():
    bijector = named("convolution", SMALL)((1, 8, 8))
    assert not is_local(bijector, Lattice(1, (8, 8), (True, True)))
    assert not is_local(named("spectral")((1, 8, 8)), Lattice(1, (8, 8), (True, True)))


def convolutions(event_shape, coupling=Coupling):
    network = partial(ResidualConv, hidden=(4,), blocks=0, padding="circular")
    return coupling(Masked(event_shape), network)


class Doubled(Coupling):
    """y = 2 f(x) for the coupling f, by both methods alone."""

    def forward(self, x, context=None):
        y, log_det = super().forward(x, context)
        return 2 * y, log_det + x[0].numel() * math.log(2)

    def inverse(self, y, context=None):
        x, log_det = super().inverse(y / 2, context)
        return x, log_det - y[0].numel() * math.log(2)


def on_a_lattice(make, edge=16):
    layout = mera.Layout((edge, edge), 1)
    layout.latent(layout.local(layout.input, make, kernel=5, stride=1))
    return randomize(mera.Flow(layout), 0.3)


def check_restricted(flow):
    x = torch.randn(1, *flow.plan.input.event_shape, dtype=torch.float64)
    local = flow.restrict(x, ((1, 3), (1, 2)))
    pixels = torch.randn(2, 1, 2, dtype=torch.float64)
    torch.testing.assert_close(local.log_prob(pixels), flow.log_prob(local.fill(pixels)))
    torch.testing.assert_close(local.decode(local.encode(pixels)), pixels)


@pytest.mark.parametrize(("edge", "levels"), [(16, 3), (12, 3), (8, 4)])
def test_a_bijector_that_lattices_share(edge, levels):
    """The mask of each lattice is that of its own sites; a kernel may go around a lattice of one site."""
    layout, name = mera.Layout((edge, edge), 1), named("convolution", SMALL | {"padding": "circular", "layers": 1})
    x, kernel = layout.input, name((1, edge, edge)).receptive_kernel
    for _ in range(levels - 1):
        x, fine = layout.decimate(layout.local(x, name, kernel=kernel, stride=1, share="c"))
        layout.latent(fine)
    layout.latent(layout.local(x, name, kernel=kernel, stride=1, share="c"))
    flow = randomize(mera.Flow(layout), 0.2)
    check_restricted(flow)
    check_laws(flow, torch.randn(2, 1, edge, edge, dtype=torch.float64))
    x = torch.randn(1, 1, 2 * edge, 2 * edge, dtype=torch.float64)
    large = flow.resized((2 * edge, 2 * edge))
    assert large.stream(x[0].numpy(), tile=edge).log_prob == pytest.approx(large.log_prob(x).item(), abs=1e-9)


def hooked(flow):
    """The flow, with a hook on its coupling that doubles values."""

    def double(module, arguments, result):
        return 2 * result[0], result[1] + arguments[0][0].numel() * math.log(2)

    for module in flow.modules():
        if isinstance(module, Coupling):
            module.register_forward_hook(double)
    return flow


class Mixed(Doubled, Coupling):
    """A subclass that inherits both methods, and has a map on sites of its own."""

    def on_sites(self, x, context, inverse, sites):
        return super().on_sites(x, context, inverse, sites)


def assigned(event_shape):
    """A coupling whose methods were replaced, as wrappers do."""
    coupling, doubled = convolutions(event_shape), convolutions(event_shape, Doubled)
    coupling.doubled = doubled
    coupling.forward, coupling.inverse = doubled.forward, doubled.inverse
    return coupling


@pytest.mark.parametrize(
    "flow",
    [
        lambda: on_a_lattice(partial(convolutions, coupling=Doubled)),
        lambda: on_a_lattice(partial(convolutions, coupling=Mixed)), lambda: on_a_lattice(assigned),
        lambda: hooked(on_a_lattice(convolutions)),
    ],
    ids=["a subclass", "a mixture", "an assignment", "a hook"],
)  # fmt: skip
def test_what_is_more_than_its_map_on_sites_is_evaluated_whole(flow):
    flow = flow()
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    local = flow.restrict(x, ((3, 5), (4, 6)))
    torch.testing.assert_close(local.log_prob(local.pixels), flow.log_prob(x))
    assert torch.equal(flow.window(3, (0, 16), (0, 16))[..., 2:6, 2:6], flow.window(3, (2, 6), (2, 6)))
    with pytest.raises(mera.LayoutError, match="one that acts on the whole lattice at once"):
        flow.stream(x[0].numpy())


class Misshapen(LocalBijector):
    """Loses a row of a box, or forgets that sites have log-dets of their own."""

    circular = True

    def __init__(self, event_shape, radius):
        super().__init__(event_shape)
        self.reach = radius

    @property
    def receptive_kernel(self):
        return (1 + 2 * self.reach,) * 2

    def on_sites(self, x, context, inverse, sites):
        y = x if sites is None else x[:, :, self.reach :]
        return -y, y.new_zeros(len(x), *(y.shape[2:] if self.reach else ()))


@pytest.mark.parametrize("radius", [0, 1])
def test_a_map_on_sites_of_other_shapes_is_refused(radius):
    layout, make = mera.Layout((16, 16), 1), partial(Misshapen, radius=radius)
    layout.latent(layout.local(layout.input, make, kernel=1 + 2 * radius, field=True))
    with pytest.raises(ValueError, match=r"Misshapen.on_sites: Expected values and log-dets of sites"):
        mera.Flow(layout).window(0, (3, 5), (4, 6))
    assert not mera.check(make((1, 8, 8))).ok


def test_hooks_of_convolutions_that_go_around_a_lattice():
    flow = mera.build("realnvp", L=4, m=2, channels=1, layers=1, hidden=(4,), boundary="periodic")
    layers, called = [part for part in flow.modules() if isinstance(part, torch.nn.Conv2d)], set()
    for part in layers:
        part.register_forward_hook(lambda module, *_: called.add(module))
    flow.log_prob(torch.randn(1, 1, 4, 4))
    assert called == set(layers)


def test_hooks_run_once_and_count_under_checkpoints():
    flow, calls = hooked(mera.build("realnvp", L=16, channels=1, hidden=(4,), levels=1, layers=1)), []
    flow, x = randomize(flow, 0.1), torch.randn(2, 1, 16, 16, dtype=torch.float64)
    for module in flow.modules():
        module.register_forward_hook(lambda module, *_: calls.append(type(module).__name__))
    plain, expected = flow.log_prob(x), calls[:]
    gradients = torch.autograd.grad(plain.sum(), list(flow.parameters()))
    flow.checkpoint = True
    calls.clear()
    again = flow.log_prob(x)
    assert torch.equal(plain, again)
    assert calls == expected
    torch.testing.assert_close(torch.autograd.grad(again.sum(), list(flow.parameters())), gradients)


def test_convolutions_of_single_sites_are_fields():
    """A kernel of 1 is declared to be of the lattice: the bijector gets it as one event, and is cut into boxes."""
    network = partial(ResidualConv, hidden=(3,), blocks=1, kernel=1)
    make = lambda shape: Coupling(ChannelHalves(shape), network)  # noqa: E731
    layout = mera.Layout((6, 4), 2)
    layout.latent(layout.local(layout.input, make, kernel=1, field=True))
    flow = randomize(mera.Flow(layout), 0.3)
    (step,) = flow.plan.bijections
    assert (step.apply.is_field, step.apply.events, step.apply.event_shape) == (True, 1, (2, 6, 4))
    x = torch.randn(1, 2, 6, 4, dtype=torch.float64)
    check_laws(flow, x)
    local = flow.restrict(x, ((1, 3), (2, 3)))
    torch.testing.assert_close(local.log_prob(local.pixels), flow.log_prob(x))
    assert flow.inference_cone(((1, 3), (2, 3))).count == 4
    layout = mera.Layout((6, 4), 2)
    with pytest.raises(mera.LayoutError, match="Expected a bijector with event shape"):
        layout.local(layout.input, Dense((2, 6, 4)), kernel=1)
