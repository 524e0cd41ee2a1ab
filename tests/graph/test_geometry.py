"""Refusals of layouts that are not bijections, with the node, the expected and the actual value."""

import pickle
import re
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations

import networkx as nx
import pytest
import torch

import mera
from mera.bijectors import ActNorm, Chain, ChannelHalves, Coupling, Invert, ResidualConv
from mera.graph import Cut, Lattice, Layout, LayoutError, Node, compile
from mera.graph.modules import structure_of
from tests.helpers.laws import Bent, Dense


def refuses(make, node, expected, got):
    """The error names all three."""
    with pytest.raises(LayoutError, match=f"(?s){re.escape(expected)}.*{re.escape(got)}.*node {node!r}"):
        make()


def local(shape=(8, 6), channels=2, boundary="periodic", **options):
    layout = Layout(shape, channels, boundary)
    return layout.local(layout.input, options.pop("bijector", Dense), name="dis", **options)


@pytest.mark.parametrize(
    ("options", "expected", "got"),
    [
        ({"kernel": 4}, "a kernel that divides the edge 6", "4"),
        ({"kernel": (2, 5)}, "a kernel that divides the edge 6", "5"),
        ({"kernel": 0}, "the kernel to be an integer >= 1", "0"),
        ({"kernel": 2.0}, "the kernel to be an integer", "2.0"),
        ({"kernel": True}, "the kernel to be an integer", "True"),
        ({"kernel": (2, 2, 2)}, "2 of them", "(2, 2, 2)"),
        ({"kernel": 2, "offset": 2}, "an offset below the stride 2", "2"),
        ({"kernel": 2, "offset": -1}, "the offset to be an integer >= 0", "-1"),
        ({"kernel": 1, "stride": 2}, "the stride of the kernel, for patches, or stride 1", "kernel 1, stride 2"),
        ({"kernel": 2, "stride": 1}, "an odd kernel of a field bijector", "2"),
        ({"kernel": 6, "stride": 2}, "the stride of the kernel, for patches, or stride 1", "kernel 6, stride 2"),
        ({"kernel": (8, 6), "offset": 3, "boundary": "open"}, "room for a whole patch of 8", "an edge of 8"),
        ({"kernel": 3, "stride": 1, "offset": 1}, "an offset below the stride 1", "1"),
        ({"kernel": 2, "bijector": Dense((2, 2, 3))}, "event shape (2, 2, 2)", "(2, 2, 3)"),
        ({"kernel": 2, "bijector": 3}, "a bijector, or a callable", "3"),
    ],
)
def test_local_nodes(options, expected, got):
    refuses(lambda: local(**options), "dis", expected, got)


def test_other_nodes():
    layout = Layout((8, 6), 2)
    x = layout.input
    refuses(lambda: layout.decimate(x, 3, name="dec"), "dec", "an edge that the stride 3 divides", "8")
    refuses(lambda: layout.decimate(x, 1, name="dec"), "dec", "a stride above 1", "1")
    refuses(lambda: layout.squeeze(x, 4, name="sq"), "sq", "an edge that the stride 4 divides", "6")
    for keep in (0, 2, -1, 1.0):
        refuses(lambda keep=keep: layout.split(x, keep, name="sp"), "sp", "from 1 to 1 of 2 channels", f"{keep!r}")
    refuses(lambda: layout.latent("x", name="z"), "z", "the output of an earlier node", "'x'")
    other = Layout((8, 6), 2)
    y = other.local(other.input, Dense, 2, name="elsewhere")
    refuses(lambda: layout.latent(y, name="z"), "z", "a node of this layout", "'elsewhere'")
    layout.local(x, Dense, 2, name="first")
    refuses(lambda: layout.local(x, Dense, 2, name="second"), "second", "not taken yet", "which 'first' takes")
    refuses(lambda: layout.local(x, Dense, 2, name="first"), "first", "a name that is not taken", "")


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": ()}, {"shape": (2, 2, 2, 2)}, {"shape": (4, 0)}, {"shape": (4.0,)}, {"shape": 4},
        {"shape": (4,), "channels": 0}, {"shape": (4,), "channels": 1.5}, {"shape": (4,), "boundary": "closed"},
        {"shape": (4, 4), "boundary": ["open"]}, {"shape": (4,), "boundary": None}, {"shape": (4,), "boundary": 1},
        {"shape": (4, 4), "boundary": [["open"], ["open"]]},
    ],
)  # fmt: skip
def test_lattices(arguments):
    with pytest.raises(LayoutError, match=r"Expected .*; got "):
        Layout(**arguments)


def test_outputs_that_are_taken_never_or_twice():
    layout = Layout((4,), 2)
    layout.local(layout.input, Dense, 2, name="a")
    refuses(lambda: compile(layout), "a", "for each of the outputs [0]", "nodes for []")
    layout = Layout((4,), 2)
    kept, _ = layout.split(layout.input, 1, name="s")
    layout.latent(kept)
    refuses(lambda: compile(layout), "s", "for each of the outputs [0, 1]", "nodes for [0]")
    layout.graph.add_edge("input", "latent0", output=0)
    with pytest.raises(LayoutError, match="Expected a tree of nodes"):
        compile(layout)
    refuses(lambda: Layout((4,), 2).latent(kept, name="type"), "type", "a name that is not empty", "'type'")


def test_levels_of_equal_size_are_in_the_order_of_the_graph_however_declared():
    """Of two equally large levels the finer one has the sites that the cut between them does not keep."""

    def nodes(order):
        layout = Layout((8,), 1)
        coarse, fine = layout.decimate(layout.local(layout.input, ActNorm, kernel=4))
        coarsest, rest = layout.decimate(coarse)
        ports = {"fine": fine, "rest": rest, "coarsest": coarsest, "scaled": rest}
        for name in order:
            layout.latent(layout.local(rest, ActNorm, kernel=2) if name == "scaled" else ports[name], name)
        return [latent.node for latent in compile(layout).latents]

    for order in permutations(["fine", "rest", "coarsest"]):
        assert nodes(order) == ["fine", "rest", "coarsest"]
    for order in permutations(["fine", "scaled", "coarsest"]):
        assert nodes(order) == ["fine", "scaled", "coarsest"]


def test_sharing():
    layout = Layout((4, 8), 1)
    x = layout.local(layout.input, ActNorm, 2, share="s", name="a")
    x = layout.local(x, ActNorm, 4, share="s", name="b")
    layout.latent(x)
    refuses(lambda: compile(layout), "b", "events of shape (1, 2, 2) as in 'a'", "(1, 4, 4)")
    layout = Layout((4, 8), 1)
    x = layout.local(layout.input, ActNorm, 2, share="s", name="a")
    x = layout.local(x, Dense, 2, share="s", name="b")
    layout.latent(x)
    refuses(lambda: compile(layout), "b", "the bijector of 'a'", "another")
    layout = Layout((4, 8), 1)
    norm = ActNorm((1, 2, 2))
    layout.latent(layout.local(layout.local(layout.input, norm, 2, name="a"), norm, 2, offset=1, name="b"))
    assert {step.module for step in compile(layout).steps} == {"a"}
    assert len(mera.Flow(layout).bijectors) == 1


def test_a_field_bijector_must_say_its_true_kernel():
    conv = mera.build("realnvp", L=8, channels=1, layers=1, hidden=(4,)).bijectors["checkerboard0"]
    (window, _) = conv.receptive_kernel
    refuses(lambda: local((8, 8), 1, kernel=3, stride=1, bijector=conv), "dis", f"kernel {(window, window)}", "(3, 3)")
    local((8, 8), 1, kernel=8, bijector=conv)  # a patch that happens to be the whole lattice


def of_one_node(bijector):
    """A layout of one node on four sites."""
    layout = Layout((4,), 1)
    layout.latent(layout.local(layout.input, bijector, 2, name="odd"))
    return layout


def test_factories_that_fail():
    refuses(lambda: of_one_node(torch.nn.Linear(2, 2)), "odd", "a bijector, or a", "Linear")
    for factory, expected, got in (
        (lambda: 1, "a callable that makes a bijector", "which fails"),
        (mera.bijectors.Bijector, "a callable that makes a bijector", "which fails"),
        (lambda shape: Dense((9,)), "event shape (1, 2)", "(9,)"),
        (lambda shape: "none", "mera.bijectors.Bijector", "str"),
    ):
        layout = of_one_node(factory)
        refuses(lambda layout=layout: mera.Flow(layout), "odd", expected, got)


class Scalar(Dense):
    def forward(self, x):
        return x, x.sum()


class Forgetful(Dense):
    def forward(self, x):
        return x


class ForgetfulBack(Dense):
    def inverse(self, y):
        return y, y.new_zeros(len(y), 1)


def test_bijectors_that_break_their_word():
    """They are called once each way when the flow is built."""
    for kind, expected, got in (
        (Scalar, "events (2, 1, 2) and one log-det for each from Scalar.forward", "(2, 1, 2) and ()"),
        (Forgetful, "events (2, 1, 2) and one log-det for each from Forgetful.forward", "(2, 1, 2)"),
        (ForgetfulBack, "one log-det for each from ForgetfulBack.inverse", "(2, 1, 2) and (2, 1)"),
        (lambda shape: Chain([ActNorm(shape), Scalar(shape)]), "from Scalar.forward", "(2, 1, 2) and ()"),
    ):
        refuses(lambda kind=kind: mera.Flow(of_one_node(kind)), "odd", expected, got)


class Started(Dense):
    """Starts from its first batch, draws random numbers, and knows no inverse of zeros."""

    started = False

    def forward(self, x):
        if not self.started:
            self.started = True
            self.matrix.data.mul_(x.abs().sum() + torch.rand(()))
        return super().forward(x)

    def inverse(self, y):
        if not y.all():
            raise ZeroDivisionError("zeros")
        return super().inverse(y)


def test_that_a_bijector_is_tried_changes_nothing():
    bijector = Started((1, 2))
    matrix = bijector.matrix.detach().clone()
    state = torch.get_rng_state()
    mera.Flow(of_one_node(bijector))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(bijector.matrix, matrix)
    assert not bijector.started


def test_a_flow_keeps_its_own_layout():
    layout = Layout((4,), 1)
    x = layout.local(layout.input, Dense, 2)
    kept, rest = layout.decimate(x)
    layout.latent(rest)
    layout.latent(kept, name="z")
    flow = mera.Flow(layout)
    layout.graph.remove_node("z")
    assert "z" in flow.layout.graph
    with pytest.raises(nx.NetworkXError, match="Frozen"):
        flow.layout.graph.remove_node("z")


def test_plan_of_a_large_lattice():
    """A plan has no per-site lists: its size does not know the lattice's."""
    layout = mera.build("rgflow", L=4096, layers=1, hidden=(4,), share_levels=True).layout
    start = time.perf_counter()
    plan = compile(layout)
    assert time.perf_counter() - start < 1
    assert len(pickle.dumps(plan)) < 100_000
    assert hash(plan) == hash(compile(layout))
    assert next(step.operation.events for step in plan.steps if step.node == "decimator0") == 1024**2


def test_printed_plan_names_every_step():
    text = str(mera.build("rgflow", L=16, layers=1, hidden=(4,)).plan)
    assert "b c (h kh) (w kw) -> (b h w) c kh kw" in text
    assert "z0: 9 x 8 x 8" in text
    assert text.splitlines()[0].split() == [
        "step", "node", "level", "lattice", "kernel", "stride", "offset", "patches", "pattern", "sends", "out",
    ]  # fmt: skip


def test_a_field_that_reads_everything_needs_a_kernel_that_reaches_it():
    for boundary, needed in (("periodic", (9, 7)), ("open", (15, 11)), (("open", "periodic"), (15, 7))):
        local((8, 6), 1, boundary, kernel=needed, stride=1, bijector=Dense((1, 8, 6)))
        for d in (0, 1):
            short = tuple(k - 2 * (i == d) for i, k in enumerate(needed))
            layout = Layout((8, 6), 1, boundary)
            layout.latent(layout.local(layout.input, Dense, kernel=short, stride=1))
            with pytest.raises(LayoutError, match="Expected a kernel that reaches all of the lattice from everywhere"):
                mera.Flow(layout)


@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: Chain([b]), Invert])
def test_what_reads_around_an_open_border_is_refused(wrap):
    conditioner = partial(ResidualConv, hidden=(3,), blocks=0, padding="circular")
    bijector = wrap(Coupling(ChannelHalves((2, 8, 6)), conditioner))
    for boundary in ("open", ("periodic", "open")):
        layout = Layout((8, 6), 2, boundary)
        with pytest.raises(LayoutError, match=r"(?s)Expected a bijector that ends at open borders.*'conv'"):
            layout.local(layout.input, bijector, kernel=5, stride=1, name="conv")
    layout = Layout((8, 6), 2)
    layout.local(layout.input, bijector, kernel=5, stride=1, name="conv")


def test_a_node_of_many_outputs():
    @dataclass(frozen=True)
    class Comb(Node):
        outputs = 12

        def lower(self, lattice):
            return (Teeth(lattice, 1),)

    class Teeth(Cut):
        @property
        def outputs(self):
            return tuple(replace(self.lattice, channels=1) for _ in range(12))

    layout = mera.Layout((4,), 12)
    for port in layout.add(Comb(), layout.input):
        layout.latent(port)
    assert len(compile(layout).latents) == 12


def test_the_structure_of_a_module_is_not_what_a_users_class_counts():
    counting = Bent((1, 2, 2))
    before = structure_of(counting)
    counting.calls = 3
    assert structure_of(counting) == before


def test_a_summary_names_bijectors():
    layout = mera.Layout((4, 4), 1)
    x = layout.local(layout.input, lambda shape: Chain([ActNorm(shape), Dense(shape), ActNorm(shape)]), 2, name="own")
    layout.latent(layout.local(layout.local(x, Dense, 2, name="class"), "actnorm", 2, name="named"))
    names = {row[1]: row[2] for row in mera.Flow(layout).summary.nodes.rows}
    assert names == {"own": "ActNorm + Dense", "class": "Dense", "named": "actnorm"}


@pytest.mark.parametrize("periodic", [(True,), ("x", "y"), (0, 1), [True, True], True])
def test_a_lattice_has_a_bool_for_each_dimension(periodic):
    with pytest.raises(LayoutError, match="a tuple of 2 bools, whether each dimension is periodic"):
        Lattice(1, (4, 4), periodic)
