"""What an action declares is checked once, where it is used, by one check of samplers and training."""

import pytest
import torch

import mera
from mera import physics
from mera.physics import XY, FreeField, Ising, Phi4
from mera.physics.flow_samplers import target_of_flow
from mera.physics.target import Target


def flow_of(channels=1, **options):
    options = {"prior": "gaussian"} | options
    return mera.build("rgflow", L=4, m=2, channels=channels, hidden=(4,), norm=False, **options)


CALLS = {
    "estimate": lambda flow, action: physics.estimate(flow, action, n=100),
    "metropolis": lambda flow, action: physics.metropolis(flow, action, draws=8),
    "hmc": lambda flow, action: physics.hmc((flow.plan.input.event_shape), action, draws=8, warmup=0),
    "fit": lambda flow, action: mera.train.fit(flow, action, steps=1),
}


class Tilted(Phi4):
    """Declares that it is even, by inheritance, and is not."""

    def density(self, phi):
        return super().density(phi) - 0.05 * phi.sum(1)


class Other(FreeField):
    """Has an action that is not the sum of its density."""

    def __call__(self, phi):
        return 2 * super().__call__(phi)


class Line(FreeField):
    """Declares angles, and is a function of real numbers."""

    is_compact = True


def squares(phi):
    return phi.square().flatten(1).sum(1)


def angles(phi):
    return -(phi.roll(1, 2) - phi).cos().flatten(1).sum(1)


WRONG = {
    "odd part": (Tilted(1.0, 0.5), ValueError, r"S\(-phi\) = S\(phi\) for an action that declares is_even"),
    "not the sum": (Other(1.0), ValueError, "a sum equal to S"),
    "unbounded": (lambda phi: phi.pow(3).flatten(1).sum(1), ValueError, "bounded from below"),
    "unbounded, with an overflow": (lambda phi: -phi.cosh().flatten(1).sum(1), ValueError, "bounded from below"),
    "one direction": (lambda phi: squares(phi) - 2 * phi[:, 0, 0, 0].square(), ValueError, "bounded from below"),
    "of the batch": (lambda phi: squares(phi) + phi.mean(), ValueError, "neither on other fields nor"),
    "of chance": (lambda phi: squares(phi) + torch.rand(len(phi)), ValueError, "nor on chance"),
    "huge": (lambda phi: squares(phi) + 1e18, ValueError, "whose differences .* can hold"),
    "flat": (lambda phi: 0 * phi.flatten(1).sum(1), ValueError, "an action that grows with the field"),
    "function of angles": (angles, ValueError, "is_compact = True for an action of angles"),
    "NaN": (
        lambda phi: (phi - 9).sqrt().flatten(1).sum(1),
        FloatingPointError,
        "a finite action of each field; got nan",
    ),
    "infinite": (lambda phi: -squares(phi) / 0, FloatingPointError, "a finite action of each field; got -inf"),
    "scalar": (lambda phi: phi.square().sum(), ValueError, r"number for each field, floats \(\d+,\); got torch.float"),
    "float": (lambda phi: 3.0, ValueError, "one number for each field, .* got float"),
    "booleans": (lambda phi: phi.flatten(1).sum(1) > 0, ValueError, "one number for each field, .*torch.bool"),
    "linear": (lambda phi: phi.flatten(1).sum(1), ValueError, "bounded from below"),
    "text": ("phi4", ValueError, "an action, a function"),
    "none": (None, ValueError, "an action, a function|data|examples"),
    "number": (3, ValueError, "an action, a function|examples"),
    "class": (Phi4, ValueError, "class Phi4"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_actions_are_refused_everywhere(call, name):
    action, error, message = WRONG[name]
    if call == "fit" and name == "text":
        message = "a data set"  # text names one
    with pytest.raises(error, match=message):
        CALLS[call](flow_of(), action)


@pytest.mark.parametrize("call", sorted(set(CALLS) - {"hmc"}))
def test_flows_of_angles_and_of_real_numbers(call):
    with pytest.raises(
        ValueError, match=r"a flow of angles for XY\(beta=1\.0\), as mera.build makes one with XY.flow_options"
    ):
        CALLS[call](flow_of(), XY())
    with pytest.raises(ValueError, match="a flow of real numbers for FreeField"):
        CALLS[call](flow_of(**XY.flow_options), FreeField())
    with pytest.raises(ValueError, match="S\\(phi \\+ 2 pi\\) = S\\(phi\\)"):
        CALLS[call](flow_of(**XY.flow_options), Line())


@pytest.mark.parametrize("call", CALLS)
def test_channels_are_counted(call):
    with pytest.raises(ValueError, match=r"a field of 1 channel for Phi4\(.*\); got a field of shape \(2, 4, 4\)"):
        CALLS[call](flow_of(channels=2), Phi4())


@pytest.mark.parametrize("call", ["estimate", "metropolis", "fit"])
def test_a_flow_that_cannot_reach_the_target(call):
    with pytest.raises(ValueError, match="a flow with a density for every field of the target; got one that has none"):
        CALLS[call](flow_of(prior="Uniform(low=-0.1, high=0.1)"), FreeField())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("call", CALLS)
def test_an_action_in_the_dtype_of_the_flow(call):
    """A matrix in single precision, which takes no field in double precision."""
    matrix = torch.eye(16) + 0.1 * torch.ones(16, 16)
    flow = flow_of().float()
    if call == "hmc":  # of a flow, and from fields in single precision
        physics.hmc(flow, lambda phi: quadratic(phi, matrix), draws=8, warmup=0)
        physics.hmc((1, 4, 4), lambda phi: quadratic(phi, matrix), draws=8, warmup=0, start=torch.randn(4, 1, 4, 4))
    else:
        CALLS[call](flow, lambda phi: quadratic(phi, matrix))


def quadratic(phi, matrix):
    return (phi.flatten(1) @ matrix * phi.flatten(1)).sum(1)


@pytest.mark.parametrize("action", [FreeField(0.5, periodic=False), Ising(2.0), Phi4(-1.2723, 0.25)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_right_actions_pass_and_leave_random_numbers_alone(action, dtype):
    flow = flow_of(boundary="periodic" if getattr(action, "periodic", True) else "open").to(dtype)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    target_of_flow(flow, action)
    assert torch.equal(torch.rand(2), expected)


def test_typical_angles_have_the_winding_of_the_target():
    """At a low temperature trajectories keep the winding of a random start, whose helicity modulus may be negative."""
    action = XY(1.5)
    fields = Target.of((1, 16, 16), action).typical()
    assert action.helicity_modulus(fields).mean() == pytest.approx(0.793, abs=0.02)  # of a long run of `cluster`
    trajectories = physics.hmc((1, 16, 16), action, draws=8, warmup=50, chains=32)
    assert trajectories.history["helicity_modulus"].mean(0).min() < 0
