"""What holds for every kind of density: a batch is its rows, and what is saved comes back."""

import copy
import math
import pickle

import pytest
import torch

import mera
from mera.bijectors import ActNorm, Chain, Invert, named, with_noise
from tests.helpers.laws import randomize
from tests.helpers.quick import quick_of
from tests.tables.models import CONDITIONAL, MODELS, ONE_EACH, PICKLED, batch, contexts, rgflow

SMALL = {"L": (4, 8), "m": 2, "channels": 2}


def by_hand():
    """Cells that are not square, bijectors within others, and one that two nodes share."""

    def nested(shape):
        return Chain([Invert(named("coupling(hidden=(4,))")(shape)), named("linear")(shape)])

    layout = mera.Layout((6, 4), 2, ["open", "periodic"])
    x = layout.local(layout.input, "coupling(hidden=(4,))", kernel=(3, 2), offset=(0, 1), share="pairs")
    x, fine = layout.decimate(layout.local(x, nested, kernel=(2, 4)), (1, 2))
    layout.latent(fine)
    x = layout.local(layout.local(x, "coupling(hidden=(4,))", kernel=(3, 2), share="pairs"), "actnorm", (2, 1))
    layout.latent(layout.squeeze(x, (3, 1)))
    return mera.Flow(layout, "laplace")


DENSITIES = {
    **{name: MODELS[name] for name in ONE_EACH.values()},
    **{f"{name} with contexts": make for name, make in CONDITIONAL.items()},
    "by hand": by_hand,
    "flip": lambda: mera.Symmetrized(rgflow(**SMALL)),
    "some elements": lambda: mera.Symmetrized(rgflow(**SMALL), ("translations", "flip"), elements=5),
    "flip with contexts": lambda: mera.Symmetrized(rgflow(**SMALL, context=3)),
    "some elements with classes": lambda: mera.Symmetrized(rgflow(**SMALL, classes=4), "translations", elements=3),
    "contexts at each pixel": lambda: mera.Symmetrized(rgflow(**SMALL, context=(1, 4, 8)), "flip"),
}
SAVED = {*DENSITIES, *PICKLED} - {"by hand", "rgflow-asinh-behind with contexts"}


def case(name, n=3):
    density = randomize((MODELS | DENSITIES)[name](), 0.2)
    return density, batch(density, n), contexts(density, n) if density.flow.needs_context else None


def rows(call, *batches):
    """A function of each row by itself, in one batch again."""
    results = [call(*(None if b is None else b[i : i + 1] for b in batches)) for i in range(len(batches[0]))]
    return tuple(map(torch.cat, zip(*results, strict=True))) if isinstance(results[0], tuple) else torch.cat(results)


@pytest.mark.parametrize("name", DENSITIES)
def test_a_batch_is_its_rows(name):
    density, x, context = case(name)
    torch.testing.assert_close(density.log_prob(x, context), rows(density.log_prob, x, context))
    *noise, last = density.draw_noise(len(x))
    made = density.generate_with_log_prob((*noise, last), context)
    torch.testing.assert_close(
        made, rows(lambda *b: density.generate_with_log_prob(b[:-1], b[-1]), *noise, last, context)
    )
    torch.testing.assert_close(density.generate((*noise, last), context), made[0])
    torch.testing.assert_close(density.log_prob(made[0], context), made[1])
    if context is not None:
        one = context[1:2]
        torch.testing.assert_close(density.log_prob(x, one), density.log_prob(x, one.expand(3, *one.shape[1:])))
        torch.testing.assert_close(density.given(one).log_prob(x), density.log_prob(x, one))
        torch.testing.assert_close(density.generate((*noise, last), one), density.given(one).generate((*noise, last)))
        parameters = {id(parameter) for parameter in density.parameters()}
        density = density.given(one)
        assert {id(parameter) for parameter in density.parameters()} == parameters
    images = torch.randint(0, 256, x.shape, dtype=torch.uint8)
    noise = torch.full(x.shape, 0.25)
    x, volume = density.preprocess(with_noise(images, noise))
    expected = -(density.log_prob(x.double()) + volume) / (x[0].numel() * math.log(2))
    torch.testing.assert_close(density.bits_per_dim(images, noise=noise), expected)


@pytest.mark.parametrize("name", quick_of(sorted(SAVED), DENSITIES))
def test_what_is_saved_comes_back(name, tmp_path):
    density, x, context = case(name)
    mera.save(density, tmp_path / "once")
    mera.save(mera.load(tmp_path / "once"), tmp_path / "density")
    for again in (mera.load(tmp_path / "density"), copy.deepcopy(density), pickle.loads(pickle.dumps(density))):
        assert type(again) is type(density)
        assert torch.equal(again.log_prob(x, context), density.log_prob(x, context))
        assert [*again.state_dict()] == [*density.state_dict()]
        assert not any("_reference" in name for name in again.state_dict())
        assert [name for name, _ in again.named_parameters()] == [name for name, _ in density.named_parameters()]
        assert (again.dtype, again.plan, str(again)) == (torch.float64, density.plan, str(density))


def test_a_node_of_any_name():
    layout = mera.Layout((8,), 1)
    layout.latent(layout.local(layout.input, ActNorm, kernel=4, name="reference"))
    flow = mera.Flow(layout).double()
    assert flow.sample(2).dtype == torch.float64
    assert list(flow.bijectors) == ["reference"]


def test_a_layout_without_steps():
    layout = mera.Layout((4, 6), channels=2)
    layout.latent(layout.input)
    flow = mera.Flow(layout)
    assert len(flow.level(0)) == 0
    with pytest.raises(ValueError, match="a level from 0 to 0"):
        flow.level(1)
    filled = flow.inpaint(torch.zeros(1, 2, 4, 6), (0, 0), samples=0)
    assert torch.equal(filled.image[:, :, 1:], torch.zeros(1, 2, 3, 6))
    large = flow.resized((8, 2))
    x = torch.randn(3, 2, 8, 2)
    assert torch.equal(large(x)[0][0], x)


def test_a_refused_start_changes_nothing():
    flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(4,))
    before = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
    with pytest.raises(ValueError, match="Expected at least 2 values of each variable"):
        flow.initialize(100 * torch.randn(1, 1, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in flow.state_dict().items())
