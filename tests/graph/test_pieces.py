"""Passes without gradients run in pieces of events, which changes nothing but rounding."""

import pytest
import torch

import mera
from mera.graph import runner
from tests.helpers.laws import randomize


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(runner, "VALUES", 100)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "rgflow", "conditioner": "paper"},
        {"name": "rgflow", "context": (3,), "layers": 2},
        {"name": "rgflow", "boundary": "open"},
        {"name": "realnvp"},
    ],
    ids=str,
)
def test_pieces_change_nothing(options, small_pieces):
    options = dict(options)
    flow = randomize(mera.build(options.pop("name"), L=8, m=4, hidden=(6,), **options), 0.2)
    x = torch.randn(7, 3, 8, 8, dtype=torch.float64)
    context = torch.randn(7, 3, dtype=torch.float64) if "context" in options else None
    z, log_det = flow(x, context)  # with gradients: at once
    with torch.no_grad():
        z_pieces, log_det_pieces = flow(x, context)
        back, _ = flow.inverse(z_pieces, context)
    torch.testing.assert_close(z_pieces, tuple(level.detach() for level in z))
    torch.testing.assert_close(log_det_pieces, log_det.detach())
    torch.testing.assert_close(back, x)


def test_events_come_in_pieces_without_gradients_only(small_pieces):
    sizes = []

    class Doubled(mera.bijectors.Bijector):
        def forward(self, events, contexts):
            sizes.append((len(events), None if contexts is None else len(contexts)))
            return 2 * events, events.sum(1)

        inverse = forward

    events, contexts, double = torch.randn(25, 20), torch.randn(25, 3), Doubled(context_shape=(3,))
    runner.in_pieces(double, events, contexts, False)
    with torch.no_grad():
        changed, log_det = runner.in_pieces(double, events, contexts, True)
        runner.in_pieces(double, events[:10], None, False)
    assert sizes == [(25, 25), *[(5, 5)] * 5, (10, None)]
    torch.testing.assert_close(changed, 2 * events)
    torch.testing.assert_close(log_det, events.sum(1))


def test_a_bijector_that_returns_no_log_det_is_named(small_pieces):
    class Careless(mera.bijectors.Bijector):
        def forward(self, x, context=None):
            return x

        inverse = forward

    layout = mera.Layout((16, 16), 1)
    layout.latent(layout.local(layout.input, Careless((1, 2, 2)), kernel=2, stride=2, name="careless"))
    flow = mera.Flow(layout)
    with torch.no_grad(), pytest.raises(ValueError, match="node 'careless': Expected events and their log-det"):
        flow(torch.randn(4, 1, 16, 16))


@pytest.mark.slow
def test_pieces_do_not_stop_the_compiler(small_pieces):
    flow = mera.build("rgflow", L=4, m=2, channels=1, layers=1, hidden=(4,))
    x = torch.randn(40, 1, 4, 4)
    compiled = torch.compile(lambda x: flow(x)[1], backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), flow(x)[1])
