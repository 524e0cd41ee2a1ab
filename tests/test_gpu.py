"""Tests for a GPU: `pytest -m gpu`. Without one they are skipped.

MERA_DEVICE=cpu pytest -m gpu      # the same tests on another device, to see that they run
"""

import copy
import os

import pytest
import torch

import mera
from mera import physics
from mera.train import fit
from tests.helpers.laws import check_laws, randomize
from tests.tables.bijectors import BIJECTORS
from tests.tables.models import MODELS, ONE_EACH

DEVICE = os.environ.get("MERA_DEVICE", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no GPU that torch can use"),
]


def on_both(module, *shape):
    """A module of random weights in double precision on the CPU, its copy on the device in single, a batch."""
    torch.manual_seed(1)
    exact = randomize(module, 0.1)
    return exact, copy.deepcopy(exact).float().to(DEVICE), torch.randn(3, *shape, dtype=torch.float64)


def assert_close(found, expected, tolerance=2e-3):
    torch.testing.assert_close(found.cpu().double(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", BIJECTORS)
def test_a_bijector_keeps_the_laws(name):
    bijector = randomize(BIJECTORS[name]()).to(DEVICE)
    check_laws(bijector, torch.randn(2, *bijector.event_shape, dtype=torch.float64, device=DEVICE), atol=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_values_of_the_cpu(name):
    flow = MODELS[name]()
    exact, flow, x = on_both(flow, *flow.plan.input.event_shape)
    z, log_det = flow(x.float().to(DEVICE))
    for level, expected in zip(z, exact(x)[0], strict=True):
        assert_close(level, expected)
    assert_close(log_det, exact(x)[1])
    back, _ = flow.inverse(z)
    assert_close(back, x)
    assert flow.sample(2).device.type == DEVICE


@pytest.mark.parametrize("name", ONE_EACH.values())
def test_half_precision_is_finite(name):
    flow = MODELS[name]().to(DEVICE, torch.bfloat16)
    x = torch.randn(3, *flow.plan.input.event_shape, device=DEVICE, dtype=torch.bfloat16)
    log_prob = flow.log_prob(x)
    assert log_prob.dtype == torch.float32
    assert log_prob.isfinite().all()
    assert flow.sample(2).isfinite().all()


@pytest.mark.parametrize("checkpoint", [False, True])
def test_gradients_are_those_of_the_cpu(checkpoint):
    exact, flow, x = on_both(MODELS["rgflow"](), 1, 8, 8)
    flow.checkpoint = checkpoint
    for module, batch in ((exact, x), (flow, x.float().to(DEVICE))):
        module.log_prob(batch).sum().backward()
    for found, expected in zip(flow.parameters(), exact.parameters(), strict=True):
        assert_close(found.grad, expected.grad, 1e-2)


def test_restriction_and_windows():
    flow = mera.build("rgflow", L=32, m=4, channels=1, hidden=(8,)).to(DEVICE)
    x, mask = torch.randn(1, 1, 32, 32, device=DEVICE), torch.zeros(32, 32, dtype=torch.bool)
    mask[8:12, 8:12] = True
    pixels = torch.randn(5, 1, 16, device=DEVICE)
    images = x.repeat(5, 1, 1, 1)
    images[:, :, mask.to(DEVICE)] = pixels
    with torch.no_grad():
        local = flow.restrict(x, mask)
        assert_close(local.log_prob(pixels), flow.log_prob(images).cpu().double())
        window = flow.window(3, (0, 32), (0, 32))
        assert_close(flow.window(3, (4, 12), (8, 20)), window[:, :, 4:12, 8:20].cpu().double())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # by torch's compiler
@pytest.mark.parametrize("options", [{}, {"compile": True}, {"precision": "bfloat16"}, {"ema": 0.9}], ids=str)
def test_training(options, tmp_path):
    def examples():
        return torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    flow = mera.build("rgflow", L=8, channels=1, hidden=(16,)).to(DEVICE)
    fit(flow, examples(), steps=4, batch_size=8, run=tmp_path / "run", eval_every=2, quiet=True, **options)
    again = mera.load(tmp_path / "run")
    x = torch.randn(2, 1, 8, 8)
    if not options.get("ema"):
        assert_close(flow.log_prob(x.to(DEVICE)), again.log_prob(x).double())


def test_an_action():
    flow = mera.build("rgflow", L=8, channels=1, hidden=(8,), norm=False, prior="gaussian").to(DEVICE)
    action = physics.FreeField(1.0)
    fit(flow, action, steps=3, batch_size=16, quiet=True)
    assert 0 < physics.estimate(flow, action, 100).ess <= 1
    assert physics.hmc(flow, action, chains=4, draws=4).fields.isfinite().all()
