"""Annealed sequential Monte Carlo where the answer is known, with honest errors."""

import math

import pytest
import torch

from mera import physics
from mera.physics import XY, DoubleWell, FreeField, Ising, Phi4
from mera.sampling.verdict import Trust
from tests.physics.exact import chain_of_angles

T_C = physics.CRITICAL_TEMPERATURE
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


COVERED = [
    (FreeField(1.25), 8),
    *((Ising(temperature), L) for temperature in (1.8, 2.1, T_C, 2.5, 3.0) for L in (4, 8)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("action", "L"), COVERED, ids=repr)
def test_errors_cover(action, L):
    """The root mean square of 30 pulls of ln Z, 1.07 +- 0.15 for errors from 16 populations, Student's t of 15."""
    torch.manual_seed(0)
    exact, pulls = action.log_z((L, L)), []
    for _ in range(30):
        found = physics.anneal(action, (1, L, L), particles=8 * L, populations=16)
        pulls.append((found.log_z - exact) / found.log_z_error)
    assert 0.7 < math.sqrt(sum(pull**2 for pull in pulls) / 30) < 1.5
