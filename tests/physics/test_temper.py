"""Parallel tempering where chains of one coupling stay apart, and the answer is known."""

import pytest
import torch

from mera import physics
from mera.physics import ActionFamily, FreeField, Phi4, Target
from mera.physics.hmc import Ladder
from mera.sampling.verdict import Trust
from tests.physics.test_starts import Sextic
from tests.physics.test_trusted_rows import Line

WELLS = Line(lambda x: 2 * (x.square() - 3) ** 2 + 0.15 * x, False)
BROKEN = Line(lambda x: -1.5 * x.square() + 0.25 * x**4, False)  # even, and not declared as even: there is no flip


@pytest.mark.parametrize("action", [WELLS, pytest.param(BROKEN, marks=pytest.mark.slow)], ids=["tilted", "broken"])
def test_chains_of_one_coupling_stay_apart_and_those_of_tempering_do_not(action):
    """A barrier of 18 at each of six sites; and two phases that no flip joins."""
    torch.manual_seed(0)
    exact = action.exact(6)
    found = physics.temper(action, (1, 6), draws=800)
    for name in exact.keys() & found.observables.keys():
        value, error = found.observables[name]
        assert abs(value - exact[name]) < 4 * error, name
    assert found.verdict.trust >= Trust.USABLE
    assert found.figures["exchanged"].min() > 0.25  # about a half, by the points that particles choose
    assert found.figures["points"][[0, -1]].tolist() == [0.1, 1.0]
    assert "round trips" in repr(found)
    if action is WELLS:
        assert "chains do not agree" in physics.hmc((1, 6), action, draws=60, warmup=60).verdict


def test_a_first_order_transition():
    """Wells at 0 and at +- 4.38, of which the latter dominate by 58 nats; chains of hmc stay in all of them."""
    torch.manual_seed(0)
    found = physics.temper(Sextic(), (1, 8, 8), draws=60, chains=8)
    assert abs(found.observables["phi2"].value - 18.26) < 0.2
    assert "do not agree" not in found.verdict


def test_a_family_has_an_estimate_of_each_point(tmp_path):
    torch.manual_seed(0)
    family = ActionFamily(FreeField(), mass2=(0.5, 2.0))
    found = physics.temper(family, (1, 4, 4), points=[0.5, 1.0, 2.0], draws=150, warmup=60, out=tmp_path)
    for mass2, point in zip((0.5, 1.0, 2.0), found, strict=True):
        value, error = point.observables["phi2"]
        assert abs(value - FreeField(mass2).phi2((4, 4))) < 4 * error
        assert point.target.action == FreeField(mass2)
        assert point.fields.shape == (16, 1, 4, 4)
    loaded = physics.load_chain(tmp_path)
    assert [torch.equal(a.history["m2"], b.history["m2"]) for a, b in zip(found, loaded, strict=True)] == [True] * 3
    kept = physics.temper(family, (1, 4, 4), points=[0.5, 2.0], draws=80, warmup=40, every=2)
    torch.testing.assert_close(kept[1].fields.square().mean((1, 2, 3)), kept[1].history["phi2"][1::2].flatten())
    together = physics.reweight(kept, FreeField(1.0))
    assert (
        abs(together.log_z - (FreeField(1.0).log_z((4, 4)) - FreeField(0.5).log_z((4, 4)))) < 5 * together.log_z_error
    )


def test_exchanges_keep_values_and_follow_fields():
    """After exchanges each chain has the terms and gradients of its field; a trip is from cold to hot and back."""
    torch.manual_seed(0)
    target = Target(Phi4(1.0, 0.5), (1, 4))
    powers = torch.tensor([0.5, 0.7, 1.0]).double()
    values = powers.repeat_interleave(2)
    ladder = Ladder([target], lambda phi: -values * target.action(phi), target.starts(6), 0, powers.tolist())
    chains, before = ladder.moves.chains, ladder.moves.chains.x.clone()
    for _ in range(6):
        ladder._exchange(count=True)
        again = chains.evaluate(chains.x)
        torch.testing.assert_close((chains.values, chains.gradients), again)
    columns = chains.x.view(3, 2, 4), before.view(3, 2, 4)
    for k in range(2):  # each chain has its own three fields, in another order
        ours, theirs = (part[:, k].sum(1).sort().values for part in columns)
        assert torch.equal(ours, theirs)
    rates = ladder.figures["exchanged"]
    assert (rates > 0).all()


def test_a_round_trip_is_from_cold_to_hot_and_back():
    """With exchanges that are always accepted, fields of three points move in turn."""
    target = Target(Phi4(1.0, 0.5), (1, 4))
    powers = torch.tensor([0.5, 0.7, 1.0]).double()
    ladder = Ladder([target], lambda phi: 0 * target.action(phi), target.starts(3), 0, powers.tolist())
    trips = []
    for _ in range(13):
        ladder._exchange(count=True)
        trips.append(ladder._trips)
    assert ladder.figures["exchanged"].tolist() == [1.0, 1.0]
    # each field needs three exchanges from one end to the other, and both ends pause in turn
    assert trips == [0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: physics.temper(Phi4(), (1, 4), points=[0.2, 0.1, 1.0]), "powers or more that increase"),
        (lambda: physics.temper(Phi4(), (1, 4), points=[0.5, 0.9]), "powers or more that increase"),
        (lambda: physics.temper(Phi4(), (1, 4), points=[1.0]), "two powers or more"),
        (lambda: physics.temper(Phi4(), (1, 4), points=[-0.5, 1.0]), "from 0 or more to 1"),
        (lambda: physics.temper(Phi4(), (1, 4), points=1), "a smallest power between 0 and 1"),
        (lambda: physics.temper(Phi4(), (1, 4), points=1.5), "a smallest power between 0 and 1"),
        (
            lambda: physics.temper(ActionFamily(Phi4(), mass2=(-2, 1), coupling=(1, 2)), (1, 4)),
            "a family with one range",
        ),
        (lambda: physics.temper(Phi4(), (2, 4)), "a field of 1 channel"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
