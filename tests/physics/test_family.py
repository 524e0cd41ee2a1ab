"""Families of actions, and flows that are conditional on parameters."""

import json

import pytest
import torch

import mera
from mera import physics
from mera.physics import ON, XY, ActionFamily, DoubleWell, FreeField, Ising, Phi4
from mera.train.reverse_kl import corners
from tests.helpers.command import plain, run, succeed

FAMILIES = [
    ActionFamily(FreeField(), mass2=(0.5, 3.0)),
    ActionFamily(Phi4(coupling=0.5), mass2=(-2.0, 1.0)),
    ActionFamily(Phi4(periodic=False), coupling=(0.5, 2.0), mass2=(-2.0, 1.0)),
    ActionFamily(ON(2), coupling=(0.1, 0.5), mass2=(-1.0, 1.0)),
    ActionFamily(DoubleWell(), height=(1.0, 4.0), position=(0.5, 2.0)),
    ActionFamily(XY(), beta=(0.2, 1.5)),
    ActionFamily(Ising(), temperature=(1.8, 3.2)),
]


def conditional(k=1, **options):
    options = {"channels": 1, "layers": 2, "hidden": (8,), "norm": False, "prior": "gaussian"} | options
    return mera.build("rgflow", L=4, m=2, context=k, block_spins=False, **options)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_each_field_has_its_own_parameters(family):
    """Values and gradients are those of the actions one by one."""
    phi = torch.randn(5, family.action.channels or 1, 4, 6, dtype=torch.float64, requires_grad=True)
    context = 2 * torch.rand(5, len(family.ranges), dtype=torch.float64) - 1
    value = family(phi, context)
    (gradient,) = torch.autograd.grad(value.sum(), phi)
    for i in range(5):
        scaled = zip(family.ranges.items(), context[i].tolist(), strict=True)
        at = {name: (low + high) / 2 + c * (high - low) / 2 for (name, (low, high)), c in scaled}
        torch.testing.assert_close(family.context(**at)[0].double(), context[i], atol=1e-6, rtol=0)
        alone = phi[i : i + 1].detach().requires_grad_()
        expected = family.at(**at)(alone)
        torch.testing.assert_close(value[i : i + 1], expected)
        torch.testing.assert_close(gradient[i : i + 1], torch.autograd.grad(expected.sum(), alone)[0])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.slow
def test_one_flow_learns_a_range_of_free_fields():
    torch.manual_seed(0)
    family = ActionFamily(FreeField(), mass2=(0.5, 3.0))
    flow = conditional()
    result = mera.train.fit(flow, family, steps=400, batch_size=64, lr=5e-3)
    assert result.verdict.startswith("of 2,000 samples at each of 3 points, the worst with mass2=")
    flow.double()
    for mass2 in (0.6, 1.3, 2.9):
        report = physics.estimate(flow.given(family.context(mass2=mass2)), family.at(mass2=mass2), 4000)
        assert report.ess > 0.3
        assert abs(report.log_z - FreeField(mass2).log_z((4, 4))) < 5 * report.log_z_error
    given, action = flow.given(family.context(mass2=2.0)), family.at(mass2=2.0)
    found = physics.metropolis(given, action, draws=100).observables["phi2"]
    assert abs(found.value - FreeField(2.0).phi2((4, 4))) < 5 * found.error


@pytest.mark.parametrize("k", range(1, 8))
def test_corners_have_both_ends_of_each_range(k):
    ranges = {f"p{i}": (0.0, 1.0) for i in range(k)}
    points = torch.tensor([list(corner.values()) for corner in corners(ranges)])
    assert len(points) == len(points.unique(dim=0)) == min(8, 2**k)
    for i in range(k):
        for j in range(i):
            assert len(points[:, [j, i]].unique(dim=0)) == 4


def test_what_is_refused():
    family = ActionFamily(FreeField(), mass2=(0.5, 3.0))
    for make, message in (
        (lambda: ActionFamily(FreeField()), "Expected ranges of parameters of"),
        (lambda: ActionFamily(FreeField(), mass=(1, 2)), "Expected ranges of parameters of"),
        (lambda: ActionFamily(FreeField(), mass2=(2.0, 1.0)), r"Expected a range \(smallest, largest\) of mass2"),
        (lambda: ActionFamily(FreeField(), mass2=(-1.0, 1.0)), "Expected a positive mass2, or a positive"),
        (lambda: ActionFamily(lambda phi: phi.sum(), a=(0, 1)), "which has none"),
        (lambda: family.at(), "Expected the parameters mass2; got none"),
        (lambda: family.at(mass2=4.0), "Expected mass2 from 0.5 to 3; got 4.0"),
        (lambda: mera.train.fit(conditional(2), family, steps=1), "that was built with context=1"),
        (
            lambda: mera.train.fit(conditional(), FreeField(), steps=1),
            "Expected a flow without context beside an action",
        ),
        (lambda: physics.estimate(conditional(), FreeField()), "Expected a flow without context beside an action"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_ranges_on_the_command_line(tmp_path):
    out = tmp_path / "run"
    action = "phi4(mass2=(-1, 1), coupling=0.5)"
    small = ["--L", 4, "--layers", 1, "--hidden", 8, "--steps", 2]
    succeed("train", "decimation", *small, "--action", action, "--out", out)
    assert mera.load(out).plan.context == (1,)
    assert [path.name for path in (out / "samples").iterdir()] == ["step_000002.png"]
    succeed("measure", out, "--samples", 128, "--sampler", "metropolis", "--at", "mass2=0.5")
    chain = physics.load_chain(out / "measure" / "metropolis_mass2_0.5")
    assert len(chain.fields) == 16
    report = json.loads((out / "measure" / "metropolis_mass2_0.5" / "report.json").read_text())
    assert report["action"] == "Phi4(mass2=0.5, coupling=0.5, periodic=True)"
    result = run("measure", out)
    assert "Expected --at with a value of mass2 from -1 to 1; got none" in plain(result)
    with pytest.raises(ValueError, match=r"Expected one action of the family, family\.at"):
        physics.hmc((1, 4, 4), physics.make(action))
    succeed("train", "--resume", out, "--steps", 3)
