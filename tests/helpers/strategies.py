"""Random layouts: whatever a user might write, sensible or not."""

import os
from functools import partial

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st

from mera.bijectors import ActNorm, Chain, Coupling, Gather, Invert, Masked, ResidualConv, ResidualMLP, checkerboard
from mera.flow.flow import Flow
from mera.graph import Layout, LayoutError
from tests.helpers.dense import DenseField
from tests.helpers.laws import Dense, PassiveDense, randomize

EXAMPLES = int(os.environ.get("MERA_EXAMPLES", "15"))
"""The examples of each test by Hypothesis; 200 in the weekly run."""
few = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])

NAMED = [
    "linear",
    {"name": "coupling", "hidden": (4,), "layers": 1, "transform": "spline(bins=3)"},
    "pointwise-spline(bins=3)",
]
"""Bijectors by name: some fit any patch, some do not. The triangles of a linear map of one channel are empty."""


def coupling(event_shape):
    """Half of a patch conditions the other."""
    return Coupling(Gather(checkerboard(event_shape)), partial(ResidualMLP, hidden=(4,)))


def nested(event_shape):
    """A bijector within others, one of which is inverted."""
    return Chain([Invert(Chain([coupling(event_shape), ActNorm(event_shape)])), Dense(event_shape)])


def field(event_shape, padding, kind=Coupling, hook=False):
    """A convolutional coupling of the whole lattice, kernel 5; a hook scales its values."""
    coupling = kind(Masked(event_shape), partial(ResidualConv, hidden=(3,), blocks=0, padding=padding))
    if hook:
        coupling.register_forward_hook(lambda module, x, result: (result[0] * 1.0, result[1] + 0.0))
    return coupling


class Opposite(Coupling):
    """Minus a coupling, by both methods alone."""

    def forward(self, x, context=None):
        y, log_det = super().forward(x, context)
        return -y, log_det

    def inverse(self, y, context=None):
        return super().inverse(-y, context)


FIELDS = [
    {padding: partial(field, padding=padding, kind=kind, hook=hook) for padding in ("zeros", "circular")}
    for kind, hook in ((Coupling, False), (Coupling, False), (Opposite, False), (Coupling, True))
]
"""Fields that lattices may share: local ones, and two that are evaluated whole."""


def dense_field(draw, port):
    """A field bijector that is zero nowhere that its node allows it to be otherwise, with that node's settings."""
    kernel = tuple(1 + 2 * draw(st.integers(d == 0, 2)) for d in range(len(port.shape)))
    make = partial(DenseField, kernel=kernel, periodic=port.lattice.periodic)
    return {"bijector": make, "kernel": kernel, "stride": 1}


def cell(draw, port):
    """The edges of a cell, which seldom do not fit: one for all dimensions, or one for each."""
    fits = [[s for s in (1, 2, 2, 3) if n % s == 0] * 3 + [3] for n in port.shape]
    return draw(st.sampled_from([2, 3, tuple(draw(st.sampled_from(edges)) for edges in fits)]))


@st.composite
def layouts(draw, dense=False):
    """A layout, or None where a step of it was refused; `dense` ones have no zeros in a Jacobian but for geometry."""
    dim = draw(st.integers(1, 3))
    edges = st.sampled_from({1: [2, 3, 4, 6, 8, 12], 2: [2, 3, 4, 6], 3: [2, 3, 4]}[dim])
    shape = tuple(draw(edges) for _ in range(dim))
    boundary = [draw(st.sampled_from(["periodic", "open"])) for _ in range(dim)]
    try:
        layout = Layout(shape, draw(st.integers(1, 2)), boundary)
        grow(draw, layout, layout.input, draw(st.integers(0, 5)), dense)
    except LayoutError:
        return None
    return layout


def grow(draw, layout, port, budget, dense):
    """Add up to `budget` nodes behind a port, then let it leave; what is sent out may grow as well."""
    while budget > 0:
        budget -= 1
        kind = draw(st.sampled_from(["local", "local", "field", "decimate", "squeeze", "split"]))
        if kind == "local":
            kernel = tuple(draw(st.sampled_from([k for k in (2, 3, 4, 1) if n % k == 0] * 3 + [4])) for n in port.shape)
            offset = tuple(draw(st.sampled_from([0, *range(k), k])) for k in kernel)
            named = NAMED if port.channels > 1 else NAMED[1:]
            kinds = [Dense, PassiveDense] if dense else [Dense, ActNorm, coupling, nested, *named]
            bijector = draw(st.sampled_from(kinds))
            passive = draw(st.sampled_from([1] * 9 + [0])) if bijector is PassiveDense else 0
            share = draw(st.sampled_from([None, None, "s"]))
            port = layout.local(port, bijector, kernel, offset=offset, share=share, passive=passive)
        elif kind == "field" and dense:
            if port.channels > 1:
                port = layout.local(port, **dense_field(draw, port))
        elif kind == "field":
            number, share = draw(st.integers(0, len(FIELDS) - 1)), draw(st.sampled_from([None, "f"]))
            make = FIELDS[number]["circular" if all(port.lattice.periodic) else "zeros"]
            port = layout.local(port, make, kernel=5, stride=1, share=share and f"{share}{number}")
        elif kind == "squeeze":
            port = layout.squeeze(port, cell(draw, port))
        elif kind == "split":
            port, rest = layout.split(port, draw(st.integers(1, 3)))
            grow(draw, layout, rest, draw(st.integers(0, 1)), dense)
        else:
            port, rest = layout.decimate(port, cell(draw, port))
            grow(draw, layout, rest, draw(st.integers(0, 2)), dense)
    layout.latent(port)


def make_flow(layout):
    """A flow with random weights, or nothing where a bijector cannot be made for its events."""
    assume(layout is not None)
    try:
        flow = Flow(layout, "gaussian")
    except LayoutError:
        assume(False)
    return randomize(flow, 0.2)
