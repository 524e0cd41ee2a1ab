"""Bijectors of other libraries against the libraries themselves: value, log-det, direction, parameters."""

import copy
import math

import FrEIA.framework as ff
import FrEIA.modules as fm
import nflows.transforms as nft
import normflows as nf
import pytest
import torch
import zuko
from torch import nn
from torch.distributions import transforms as tt

import mera
from mera.bijectors import Invert, adapt
from tests.helpers.laws import check_laws, jacobian_log_det

pytestmark = pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated")  # in nflows
N = 6


def test_events_that_must_be_flattened():
    with pytest.raises(RuntimeError) as error:
        adapt(zuko.flows.MAF(6, hidden_features=(9,)), (1, 2, 3))(torch.zeros(2, 1, 2, 3))
    assert error.value.__notes__ == ["adapt(..., flatten=True) passes events as vectors"]


def subnet(before, after):
    return nn.Sequential(nn.Linear(before, 9), nn.Tanh(), nn.Linear(9, after))


def conv_subnet(before, after):
    return nn.Sequential(nn.Conv2d(before, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, after, 3, padding=1))


def freia_graph():
    nodes = [ff.InputNode(N)]
    nodes.append(ff.Node(nodes[-1], fm.RNVPCouplingBlock, {"subnet_constructor": subnet}))
    nodes.append(ff.Node(nodes[-1], fm.PermuteRandom, {"seed": 1}))
    nodes.append(ff.Node(nodes[-1], fm.GLOWCouplingBlock, {"subnet_constructor": subnet}))
    nodes.append(ff.OutputNode(nodes[-1]))
    return ff.GraphINN(nodes)


def nflows_chain():
    made = nft.MaskedAffineAutoregressiveTransform(features=N, hidden_features=9)
    spline = nft.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
        N, 9, num_bins=4, tails="linear", tail_bound=3.0
    )
    return nft.CompositeTransform([made, nft.ReversePermutation(N), spline, nft.LULinear(N)])


def normflows_coupling():
    return nf.flows.AffineCouplingBlock(nf.nets.MLP([N // 2, 9, N]), split_mode="channel")


def library_value(kind, obj, x):
    """Data to latents as the library has it."""
    match kind:
        case "zuko":
            return obj()(x)
        case "nflows":
            return obj(x)[0]
        case "FrEIA":
            z, _ = obj([x])
            return z if isinstance(z, torch.Tensor) else z[0]
        case "normflows":
            return obj.inverse(x)[0]


CASES = {
    "zuko-lazy": ("zuko", lambda: zuko.flows.MAF(N, transforms=2, hidden_features=(9,)).transform),
    "zuko-coupling": ("zuko", lambda: zuko.flows.NICE(N, transforms=2, hidden_features=(9,)).transform),
    "zuko-spline": ("zuko", lambda: zuko.flows.NSF(N, transforms=1, hidden_features=(9,)).transform),
    "nflows": ("nflows", nflows_chain),
    "FrEIA-module": ("FrEIA", lambda: fm.GLOWCouplingBlock([(N,)], subnet_constructor=subnet)),
    "FrEIA-graph": ("FrEIA", freia_graph),
    "normflows": ("normflows", normflows_coupling),
    "normflows-spline": ("normflows", lambda: nf.flows.CoupledRationalQuadraticSpline(N, 1, 9, num_bins=4)),
}  # fmt: skip


def perturb(module, scale=0.2):
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():  # FrEIA keeps permutations as parameters
                parameter.add_(scale * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("name", CASES)
def test_values_are_the_librarys_and_the_laws_hold(name):
    """In single precision, and then in double; a copy has parameters of its own."""
    kind, make = CASES[name]
    obj = make()
    bijector = perturb(adapt(obj, (N,))).eval()  # shares the object's parameters
    x = torch.randn(5, N)
    z, log_det = bijector(x)
    torch.testing.assert_close(z, library_value(kind, obj, x), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(bijector.inverse(z)[1], -log_det, atol=1e-4, rtol=1e-4)
    bijector, x = bijector.double(), torch.randn(3, N, dtype=torch.float64)
    z, log_det = bijector(x)
    loose = 1e-5 if kind in ("zuko", "nflows") or "spline" in name else 1e-9  # searches, and constants in single
    torch.testing.assert_close(bijector.inverse(z)[0], x, atol=loose, rtol=loose)
    torch.testing.assert_close(log_det, jacobian_log_det(bijector, x), atol=1e-6, rtol=1e-6)
    assert log_det.dtype == torch.float64
    other = copy.deepcopy(bijector)
    assert torch.equal(other(x)[0], z)
    with torch.no_grad():
        perturb(other, 0.1)
    assert not torch.equal(other(x)[0], z)
    assert torch.equal(bijector(x)[0], z)


@pytest.mark.parametrize(
    "make",
    [
        lambda shape: adapt(zuko.flows.NSF(math.prod(shape), transforms=1, hidden_features=(9,)), shape, flatten=True),
        lambda shape: Invert(adapt(zuko.flows.MAF(math.prod(shape), hidden_features=(9,)), shape, flatten=True)),
        lambda shape: adapt(nft.LULinear(math.prod(shape)), shape, flatten=True),
        lambda shape: adapt(fm.GLOWCouplingBlock([shape], subnet_constructor=conv_subnet), shape),
        lambda shape: adapt(nf.flows.ActNorm(shape), shape),
    ],
)
def test_nodes_of_an_rgflow(make):
    flow = mera.build("rgflow", L=8, m=4, channels=2, bijector=make)
    x = torch.randn(3, 2, 8, 8)
    flow.initialize(x)
    z, log_det = flow(x)
    back, opposite = flow.inverse(z)
    torch.testing.assert_close(back, x, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(opposite, -log_det, atol=1e-3, rtol=1e-4)


CONDITIONAL = {
    "zuko": lambda: adapt(zuko.flows.MAF(N, 3, transforms=1, hidden_features=(9,)), (N,), (3,)),
    "nflows": lambda: adapt(nft.MaskedAffineAutoregressiveTransform(N, 9, context_features=3), (N,), (3,)),
    "FrEIA": lambda: adapt(fm.GLOWCouplingBlock([(N,)], [(3,)], subnet_constructor=subnet), (N,), (3,)),
    "normflows": lambda: adapt(nf.flows.MaskedAffineAutoregressive(N, 9, context_features=3, num_blocks=1), (N,), (3,)),
}


@pytest.mark.parametrize("name", CONDITIONAL)
def test_contexts(name):
    bijector = perturb(CONDITIONAL[name]().double()).eval()
    x, context = torch.randn(3, N, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    check_laws(bijector, x, context, atol=1e-6)
    assert not torch.allclose(bijector(x, context)[0], bijector(x, context + 1)[0])


def test_a_transform_of_torch_is_a_module_of_zuko():
    scale = torch.rand(N, dtype=torch.float64) + 0.5
    with pytest.raises(ValueError, match=r"UnconditionalTransform makes .*; got torch\.distributions.*AffineTransform"):
        adapt(tt.AffineTransform(0.0, scale), (N,))
    bijector = adapt(zuko.lazy.UnconditionalTransform(tt.AffineTransform, torch.zeros_like(scale), scale), (N,))
    assert adapt(bijector) is bijector
    assert len(list(bijector.parameters())) == 2
    x = torch.randn(3, N, dtype=torch.float64)
    torch.testing.assert_close(bijector(x)[0], scale * x)
    check_laws(bijector, x)
