"""Annealed sequential Monte Carlo where the answer is known, with honest errors."""

import pytest
import torch

from mera import physics
from mera.physics import XY, DoubleWell, FreeField, Ising, Phi4
from mera.physics.estimate import estimate_of
from mera.physics.record import Record
from mera.sampling.diagnostics import Averaging
from mera.sampling.verdict import Trust
from tests.physics.exact import chain_of_angles

KNOWN = [
    (FreeField(1.25), (1, 4, 6)),
    (FreeField(0.5, periodic=False), (1, 4, 6)),
    (FreeField(0.5, periodic=(True, False)), (1, 4, 6)),
    (DoubleWell(), (1, 2, 3)),
    (Ising(3.0), (1, 4, 4)),
    (XY(1.0), (1, 8)),
]


@pytest.mark.parametrize(("action", "shape"), KNOWN, ids=lambda value: repr(value).replace(" ", ""))
def test_the_partition_function(action, shape):
    torch.manual_seed(2)
    seen = []
    own = {"first": lambda phi: seen.append(len(phi)) or phi[:, 0].flatten(1)[:, 0]}
    found = physics.anneal(action, shape, particles=64, observables=own)
    assert sum(seen[-8:]) == 8 * 64
    assert len(seen) < 8 + 2  # once for each population, beside the trial of the observable
    log_z = chain_of_angles(1.0, 8)["ln Z"] if isinstance(action, XY) else action.log_z(shape[1:])
    assert abs(found.log_z - log_z) < 5 * found.log_z_error + 1e-6
    assert found.log_z_error < 0.1
    assert found.verdict.trust >= Trust.ROUGH
    if isinstance(action, FreeField):
        assert abs(found.observables["phi2"].value - action.phi2(shape[1:])) < 5 * found.observables["phi2"].error
    if action.is_even and not action.is_compact:  # m of vectors is a length
        assert abs(found.observables["m"].value) < 5 * found.observables["m"].error
    assert found.fields.shape == (8 * 64, *shape)
    average = found.log_weights.softmax(0) @ found.history["m2"]
    assert found.observables["m2"].value == pytest.approx(average.item())
    derived = found.derive(lambda mean: mean["m2"])
    assert derived.value == pytest.approx(average.item())
    assert derived.error == pytest.approx(found.observables["m2"].error, rel=0.1)


def test_populations_that_disagree_say_so():
    """Eight particles with one move in a stage cannot follow many variables in a steep well."""
    torch.manual_seed(0)
    found = physics.anneal(Phi4(-8.0, 0.5), (1, 8, 8), particles=8, moves=1, populations=4)
    assert found.verdict.trust == Trust.MEANINGLESS
    assert "take more particles" in found.verdict
    with pytest.warns(UserWarning, match="The errors mean nothing: ln Z of 4 independent populations spreads"):
        found.derive(lambda mean: mean["m2"])


def verdicts_of(values, relaxed, particles=250):
    """The verdicts on four populations whose ln Z is 0, to a hundredth, and whose m2 has these values."""
    log_z = torch.tensor([-0.01, 0.01, -0.01, 0.01], dtype=torch.float64)
    series = dict.fromkeys(("m2", "own", "m4", "abs_m", "energy", "_energy2", "_structure"), values)
    facts = {"shape": [1, 4], "periodic": [True], "inverse_temperature": 1.0, "populations": 4}
    log_weights = log_z.repeat_interleave(particles)
    return estimate_of(Record(
        facts=facts, series=series, rates=torch.ones(1), log_weights=log_weights, witness={"m2": relaxed},
    )).verdicts  # fmt: skip


def test_a_short_run_must_not_change_averages():
    torch.manual_seed(0)
    values = torch.randn(1000, dtype=torch.float64)
    other = torch.randn(1000, dtype=torch.float64)
    fine = verdicts_of(values, other)
    assert {verdict.trust for verdict in fine.values()} == {Trust.GOOD}
    moved = verdicts_of(values, other + 1)
    assert "a short run from the particles changes m2 by" in moved["m2"]
    assert (moved["m2"].trust, moved["ln Z"].trust) == (Trust.TOO_SMALL, Trust.PERHAPS_TOO_SMALL)


def test_a_change_is_doubted_that_chance_shows_in_one_of_two_hundred_cases():
    """By Student's t of 3 degrees of freedom: 7.453 standard errors of four populations."""
    torch.manual_seed(0)
    values, spread = 1e-3 * torch.randn(1000).double(), torch.tensor([-3.0, -1.0, 1.0, 3.0]).double()
    limit, moved = 7.453 * spread.std().item() / 2, values + spread.repeat_interleave(250)
    trusts = [verdicts_of(values, moved + factor * limit)["m2"].trust for factor in (0.97, 1.03)]
    assert trusts == [Trust.GOOD, Trust.TOO_SMALL]


def test_each_row_has_its_own_spread():
    """Populations that agree in ln Z, and each have an average of their own, are as few draws as populations."""
    torch.manual_seed(0)
    values = torch.tensor([0.0, 1.0, 2.0, 3.0]).double().repeat_interleave(250) + 0.1 * torch.randn(1000).double()
    found = verdicts_of(values, values)
    assert (found["ln Z"].trust, found["own"].trust) == (Trust.GOOD, Trust.ROUGH)


def test_errors_from_few_populations_have_the_factor_of_student():
    """So that two thirds of the errors cover, as of normal ones."""
    torch.manual_seed(0)
    averaging = Averaging(torch.full((4,), 0.25, dtype=torch.float64), 4, by_spread=True)
    means = torch.randn(4000, 4, dtype=torch.float64)
    covered = [abs(row.mean()) < averaging.error(row - row.mean()) for row in means]
    assert sum(covered) / len(covered) == pytest.approx(0.6827, abs=0.03)
