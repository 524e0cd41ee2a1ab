"""Averages over another action, from the chains of one that was sampled, where both are known."""

import pytest
import torch

from mera import physics
from mera.physics import FreeField, Phi4
from mera.sampling.verdict import Trust

SHAPE = 6, 4


@pytest.fixture(scope="module")
def chain():
    torch.manual_seed(0)
    return physics.hmc((1, *SHAPE), FreeField(1.0), draws=800, warmup=100, every=2)


@pytest.mark.parametrize("mass2", [0.9, 1.0, 1.15])
def test_a_near_coupling(chain, mass2):
    other = FreeField(mass2)
    found = physics.reweight(chain, other, observables={"twice": lambda phi: 2 * phi.square().flatten(1).mean(1)})
    exact = other.log_z(SHAPE) - FreeField(1.0).log_z(SHAPE)
    assert abs(found.log_z - exact) <= 5 * found.log_z_error + 1e-9
    value, error = found.observables["phi2"]
    assert abs(value - other.phi2(SHAPE)) < 5 * error
    assert found.observables["twice"] == pytest.approx((2 * value, 2 * error))
    assert found.verdict.trust >= Trust.USABLE
    assert (found.ess == pytest.approx(1)) == (mass2 == 1.0)
    assert found.derive(lambda mean: mean["m4"] / mean["m2"] ** 2).error < 0.3
    assert "ln Z'/Z" in repr(found)


def test_the_same_action_gives_the_averages_of_the_chain(chain):
    found = physics.reweight(chain, FreeField(1.0))
    fields = chain.history["phi2"][1::2]
    assert found.observables["phi2"].value == pytest.approx(fields.mean().item())
    assert found.observables["phi2"].error == pytest.approx(physics.gamma_method(fields).error)
    assert found._repr_png_().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore:The errors mean nothing")
@pytest.mark.slow
def test_errors_cover():
    """Pulls of ln Z'/Z and phi2, with the correlations of the draws, and the errors of ln Z of several couplings."""
    pulls, other, sampled = [], FreeField(0.5), (0.4, 0.6)
    exact = other.log_z(SHAPE) - FreeField(sampled[0]).log_z(SHAPE)
    options = {"draws": 80, "chains": 6, "warmup": 50, "every": 1}
    for seed in range(12):
        torch.manual_seed(seed)
        found = physics.reweight([physics.hmc((1, *SHAPE), FreeField(m), **options) for m in sampled], other)
        value, error = found.observables["phi2"]
        pulls.append([(found.log_z - exact) / found.log_z_error, (value - other.phi2(SHAPE)) / error])
    size = torch.tensor(pulls).square().mean(0).sqrt()
    assert (size > 0.6).all()
    assert (size < 1.5).all(), size


def test_a_far_action_is_refused_in_words(chain):
    with pytest.warns(UserWarning, match="errors mean nothing"):
        found = physics.reweight(chain, Phi4(-9.0, 1.0))
    assert found.verdict.trust <= Trust.TOO_FEW


def test_messages(chain):
    with pytest.raises(ValueError, match="result of hmc, metropolis, temper or cluster; got reweighted chains"):
        physics.reweight(physics.reweight(chain, FreeField(1.0)), FreeField(1.1))
    short = physics.hmc((1, *SHAPE), FreeField(1.0), draws=10)
    with pytest.raises(ValueError, match=r"keep at least 8 fields each \(every=1\); got 0"):
        physics.reweight(short, FreeField(1.1))
    with pytest.raises(ValueError, match="a field of 2 channels"):
        physics.reweight(chain, physics.ON(2))


def test_several_chains_together(chain, tmp_path):
    """The equations of the mixture hold; chains of one action are one chain; loaded ones need their actions."""
    torch.manual_seed(1)
    far = physics.hmc((1, *SHAPE), FreeField(1.4), draws=300, warmup=80, every=2, out=tmp_path / "far")
    found = physics.reweight([chain, far], FreeField(1.4))
    exact = FreeField(1.4).log_z(SHAPE) - FreeField(1.0).log_z(SHAPE)
    assert abs(found.log_z - exact) < 5 * found.log_z_error
    assert found.n == len(chain.fields) + len(far.fields)
    alone = physics.reweight(far, FreeField(1.4))
    assert found.observables["phi2"].error < 0.8 * alone.observables["phi2"].error
    actions = torch.stack([FreeField(m)(found.fields) for m in (1.0, 1.4)])
    counts = torch.tensor([len(chain.fields), len(far.fields)]).double()
    f = torch.tensor([0.0, -found.log_z], dtype=torch.float64)
    log_c = (counts.log()[:, None] + f[:, None] - actions).logsumexp(0)
    torch.testing.assert_close((-actions - log_c).logsumexp(1), -f, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"load_chain\(path, action\)"):
        physics.reweight([chain, physics.load_chain(tmp_path / "far")], FreeField(1.2))
    again = physics.reweight([chain, physics.load_chain(tmp_path / "far", FreeField(1.4))], FreeField(1.4))
    assert again.log_z == pytest.approx(found.log_z)
    with pytest.raises(ValueError, match="other values at the same fields"):
        physics.load_chain(tmp_path / "far", FreeField(1.3))
    with pytest.warns(UserWarning, match="couplings that are too far apart"):
        physics.reweight([chain, physics.hmc((1, *SHAPE), FreeField(60.0), draws=50, every=1)], FreeField(1.2))
