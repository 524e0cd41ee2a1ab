"""Starts that see phases far apart, and what verdicts say then."""

from dataclasses import dataclass

import pytest
import torch

import mera
from mera import physics
from mera.flow import Symmetrized
from mera.physics.estimate import estimate_of
from mera.physics.target import Target
from mera.sampling.diagnostics import student
from mera.sampling.verdict import Trust
from tests.physics.test_verdicts import recorded


@dataclass(frozen=True)
class Sextic(physics.Action):
    """A theory with a first-order transition: wells at 0 and at +- 4.38, which dominate by 58 nats on 8 x 8 sites."""

    is_even = True

    def density(self, phi):
        return physics.action.neighbours(phi) / 2 + (phi**2 / 2 - phi**4 / 16 + 0.11 / 64 * phi**6).sum(1)


def test_wells():
    assert Target(physics.Phi4(-2.0, 0.25), (1, 4, 4)).wells().abs().tolist() == pytest.approx([2**0.5] * 2, abs=0.1)
    found = Target(Sextic(), (1, 4, 4)).wells()
    assert sorted(found.abs().tolist()) == pytest.approx([0, 4.38, 4.38], abs=0.1)
    assert found[:2].abs().min() > 4  # the lowest first


@pytest.mark.parametrize("action", [physics.Phi4(-2.0, 0.25), physics.ON(2, -2.0, 0.25), physics.XY(1.0)])
def test_starts_are_of_many_kinds(action):
    shape = (2 if isinstance(action, physics.ON) else 1, 6, 4)
    fields = Target(action, shape).starts(12)
    assert fields.shape == (12, *shape)
    spread = fields.flatten(2).std(2).amax(1)
    assert spread[1::2].max() < 0.2 < 0.3 < spread[::2].min()
    if not action.is_compact:
        lengths = fields[1::2].mean((2, 3)).norm(dim=1)
        torch.testing.assert_close(lengths, torch.full_like(lengths, 2**0.5), atol=0.15, rtol=0)
        assert len({round(value, 1) for value in spread[::2].tolist()}) > 1


def test_a_start_without_an_action_is_unit_noise():
    def holed(phi):
        return torch.where(phi.abs().amax((1, 2)) > 5, torch.nan, phi.square().sum((1, 2)))

    assert holed(Target(holed, (1, 60)).starts(12)).isfinite().all()


@pytest.mark.slow
def test_chains_and_populations_see_another_phase():
    """Chains from noise alone agreed on the wrong phase, and so did populations."""
    torch.manual_seed(0)
    chain = physics.hmc((1, 8, 8), Sextic(), draws=60, warmup=60)
    assert chain.verdict.startswith("errors mean nothing: the chains do not agree yet")
    found = physics.anneal(Sextic(), (1, 8, 8), particles=32)
    assert abs(found.log_z - 71.4) < 1
    assert abs(found.observables["phi2"].value - 18.26) < 0.2


def test_a_start_in_one_well_is_said(tmp_path):
    """The tilted double well has most of its weight in the other one."""
    action = physics.action.as_action(lambda phi: (physics.action.neighbours(phi) / 2 + tilted(phi)).flatten(1).sum(1))
    options = {"draws": 200, "warmup": 50}
    torch.manual_seed(0)
    start = 1.7 + 0.1 * torch.randn(16, 1, 6, dtype=torch.float64)
    alike = physics.hmc((1, 6), action, start=start, out=tmp_path / "b", **options)
    assert "`start` are too much alike to show a phase" in alike.verdict
    assert {verdict.trust for verdict in alike.verdicts.values()} == {Trust.PERHAPS_TOO_SMALL}
    spread = physics.hmc((1, 6), action, start=Target(action, (1, 6)).starts(16), out=tmp_path / "a", **options)
    assert "alike" not in spread.verdict
    with pytest.warns(UserWarning, match="do not agree"):
        assert not physics.load_chain([tmp_path / "a", tmp_path / "b"]).facts["dispersed"]
    assert not Target(physics.Phi4(), (1, 4, 4)).is_dispersed(torch.zeros(1, 1, 4, 4).double())


def tilted(phi):
    return (2 * (phi.square() - 3).square() + 0.15 * phi).sum(1)


def test_averages_that_a_symmetry_forbids():
    assert Target(physics.Phi4(), (1, 4)).zero == Target(physics.Ising(2.0), (1, 4)).zero == ["m"]
    assert Target(physics.XY(1.0), (1, 4)).zero == Target(physics.ON(2), (2, 4)).zero == []
    assert Target(lambda phi: phi.square().flatten(1).sum(1), (1, 4)).zero == []


def test_an_average_that_a_symmetry_forbids_is_refuted():
    torch.manual_seed(0)
    noise = torch.randn(1000, dtype=torch.float64)
    noise, equal = (noise - noise.mean()) / noise.std() * 1000**0.5 / student(1000), torch.zeros(1000).double()

    def verdict_of(m, log_weights=equal):
        return estimate_of(recorded({"m": m}, log_weights, zero=["m"])).verdicts["m"]

    assert verdict_of(noise + 4.9).trust == verdict_of(equal).trust == Trust.GOOD  # the error of the noise is 1
    assert "is 5.1 errors from 0" in verdict_of(noise - 5.1)
    assert "is 1e+06 errors from 0" in verdict_of(equal + 1)
    one_decides = torch.where(torch.arange(1000) == 0, 100.0, 0.0).double()
    assert verdict_of(equal + 1, one_decides).trust == Trust.MEANINGLESS  # an error that means nothing refutes nothing


class Wells(physics.Action):
    """Two phases of the mean of the field."""

    is_even = True

    def __call__(self, phi):
        return 2 * (phi.mean((1, 2, 3)).square() - 4).square() + 10 * phi.var((1, 2, 3))


def test_a_flow_of_one_phase_is_refuted():
    """Its weights vary as little as those of the mixture with its mirror image, which is right."""
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=(2, 4), m=2, channels=1, layers=1, hidden=(4,), prior="gaussian").double()
    flow.initialize(2 + 0.6 * torch.randn(500, 1, 2, 4, dtype=torch.float64))
    with pytest.warns(UserWarning, match="an average that a symmetry of the action forbids is .* errors from 0"):
        alone = physics.estimate(flow, Wells(), 1000, fields=flow.sample(50))
    assert alone.verdict.trust == Trust.WRONG
    assert "averages are wrong" in repr(alone).splitlines()[6]  # the row of m
    with pytest.warns(UserWarning, match="averages are wrong: the flow misses"):
        physics.estimate(flow, Wells(), 1000)  # as fields of short chains lie in both phases
    assert physics.estimate(Symmetrized(flow, ("flip",)), Wells(), 1000).verdict.trust > Trust.WRONG


def sine_gordon(phi):
    """A theory without a mass: constant fields cost nothing, so that Z is infinite."""
    return (physics.action.neighbours(phi) / 2 + (1 - phi.cos()).sum(1)).flatten(1).sum(1)


def test_what_has_no_average_is_refused():
    with pytest.raises(ValueError, match=r"grows with the field in every direction; got .* constant field .*infinite"):
        physics.hmc((1, 4, 4), sine_gordon)
    assert physics.hmc((1, 4), lambda phi: sine_gordon(phi) + phi.square().flatten(1).sum(1), draws=8, warmup=2)
    own = {"wave": lambda phi: torch.fft.fft(phi.mean((1, 2)))[:, 1]}
    with pytest.raises(ValueError, match=r"real numbers from the observable 'wave'; got complex ones: measure \.real"):
        physics.hmc((1, 4, 4), physics.FreeField(1.0), observables=own)
