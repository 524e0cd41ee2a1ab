"""Passes without gradients run in pieces of events, which changes nothing but rounding."""

import pytest
import torch

import mera
from mera.executor import plan_module
from tests.helpers.laws import randomize


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(plan_module, "VALUES", 100)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "rgflow", "conditioner": "authors"},
        {"name": "rgflow", "context": (3,), "layers": 2},
        {"name": "rgflow", "boundary": "open"},
        {"name": "realnvp"},
    ],
    ids=str,
)
def test_pieces_change_nothing(options, small_pieces):
    options, sizes = dict(options), []
    flow = randomize(mera.build(options.pop("name"), L=8, m=4, hidden=(6,), **options), 0.2)
    for bijector in flow.bijectors.values():
        bijector.register_forward_hook(lambda module, events, _: sizes.append(len(events[0])))
    x = torch.randn(7, 3, 8, 8, dtype=torch.float64)
    context = torch.randn(7, 3, dtype=torch.float64) if "context" in options else None
    z, log_det = flow(x, context)  # with gradients: at once
    at_once = sizes.copy()
    with torch.no_grad():
        z_pieces, log_det_pieces = flow(x, context)
        back, _ = flow.inverse(z_pieces, context)
    torch.testing.assert_close(z_pieces, tuple(level.detach() for level in z))
    torch.testing.assert_close(log_det_pieces, log_det.detach())
    torch.testing.assert_close(back, x)
    assert len(at_once) == len(list(flow.plan.bijections))
    assert sum(sizes) == 2 * sum(at_once)
    assert len(sizes) > 3 * len(at_once)


@pytest.mark.slow
def test_pieces_do_not_stop_the_compiler(small_pieces):
    flow = mera.build("rgflow", L=4, m=2, channels=1, layers=1, hidden=(4,))
    x = torch.randn(40, 1, 4, 4)
    compiled = torch.compile(lambda x: flow(x)[1], backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), flow(x)[1])
