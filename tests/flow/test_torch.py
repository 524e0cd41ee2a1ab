"""Flows under torch's own operations: copy, compile, export, differentiate, run in half precision."""

import pytest
import torch

import mera
from mera.bijectors import ImagePreprocess
from mera.physics.observables import Observables
from tests.helpers.laws import randomize
from tests.tables.models import CONDITIONAL, MODELS, ONE_EACH, batch, contexts


@pytest.mark.parametrize("name", ONE_EACH.values())
def test_pytorch_citizenship(name):
    flow = randomize(MODELS[name](), 0.2)
    x = batch(flow)
    expected = flow.log_prob(x)
    other = MODELS[name]().double()
    other.load_state_dict(flow.state_dict(), strict=True)
    assert torch.equal(other.log_prob(x), expected)
    single = flow.to(torch.float32)
    assert single.log_prob(x.float()).dtype == torch.float32
    torch.testing.assert_close(single.log_prob(x.float()).double(), expected, atol=1e-2, rtol=1e-5)
    assert single.sample(2).dtype == torch.float32
    assert single(x.float()[:0])[1].shape == (0,)


def test_torch_compile_of_a_conditional_flow():
    """The eager backend traces as every backend does and spares the time of generating code."""
    flow = randomize(CONDITIONAL["rgflow-classes"](), 0.2)
    x, context = batch(flow), contexts(flow)
    _, log_det = torch.compile(flow, fullgraph=True, backend="eager")(x, context)
    torch.testing.assert_close(log_det, flow(x, context)[1])


LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ONE_EACH.values() if name != "tree"]


@pytest.mark.parametrize("name", ["tree", *LONG])
def test_torch_export_with_any_batch(name):
    flow = randomize(MODELS[name](), 0.2)
    batch_axis = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(flow, (batch(flow, 4),), dynamic_shapes=({0: batch_axis},)).module()
    x = batch(flow, 7)
    torch.testing.assert_close(program(x)[1], flow(x)[1])


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own, in its forward mode
@pytest.mark.parametrize("name", ONE_EACH.values())
def test_torch_func(name):
    """vmap maps the flow over an axis more; jvp is the directional derivative, as differences have it."""
    flow = randomize(MODELS[name](), 0.2)
    x = torch.stack([batch(flow, 3), batch(flow, 3)])
    _, log_det = torch.func.vmap(flow)(x)
    torch.testing.assert_close(log_det, torch.stack([flow(part)[1] for part in x]))
    x, v, eps = x[0], torch.randn_like(x[0]), 1e-6
    value, slope = torch.func.jvp(lambda x: flow(x)[1], (x,), (v,))
    torch.testing.assert_close(value, flow(x)[1])
    torch.testing.assert_close(slope, (flow(x + eps * v)[1] - flow(x - eps * v)[1]) / (2 * eps), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", mera.models.names())
def test_an_ensemble_in_one_pass(name):
    """vmap over `functional_call` of stacked weights: each flow's own values, and the flows stay as they are."""
    options = {"L": 9 if name == "ternary" else 8, "channels": 2, "layers": 2, "hidden": (4,)}
    options |= {"share_levels": True} if name == "rgflow" else {}
    flows = [randomize(mera.build(name, **options), 0.1) for _ in range(2)]
    parameters, buffers = torch.func.stack_module_state(flows)
    x = batch(flows[0])
    expected = [flow(x)[1] for flow in flows]

    def call(weights, constants):
        return torch.func.functional_call(flows[0], (weights, constants), (x,))[1]

    torch.testing.assert_close(torch.func.vmap(call)(parameters, buffers), torch.stack(expected))
    for flow, value in zip(flows, expected, strict=True):
        assert torch.equal(flow(x)[1], value)


@pytest.mark.parametrize("name", ONE_EACH.values())
def test_autocast_keeps_variables_and_log_dets_single(name):
    flow = randomize(MODELS[name](), 0.1).float()
    x = batch(flow).float()
    expected = flow(x)[1]
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = flow(x)
        back, _ = flow.inverse(z)
    assert {level.dtype for level in (*z, log_det, back)} == {torch.float32}
    torch.testing.assert_close(log_det, expected, atol=0.06, rtol=0)
    assert expected.abs().max() > 0.2  # so that a log-det left out would show
    torch.testing.assert_close(back, x, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ONE_EACH.values())
def test_channels_last_and_other_strides(name):
    flow = randomize(MODELS[name](), 0.2)
    x = batch(flow, 4)
    expected = flow.log_prob(x)
    if x.ndim == 4:
        torch.testing.assert_close(flow.log_prob(x.to(memory_format=torch.channels_last)), expected)
    torch.testing.assert_close(flow.log_prob(torch.cat([x, x], 1)[:, : x.shape[1]]), expected)
    torch.testing.assert_close(flow.log_prob(x.repeat_interleave(2, 0)[::2]), expected)


@pytest.mark.parametrize("name", ["rgflow", "realnvp", "glow", "wavelet", "rgflow-spline"])
def test_half_precision_keeps_log_dets_single(name):
    flow = randomize(MODELS[name](), 0.1)
    x = batch(flow)
    expected = flow(x)[1]
    half = flow.to(torch.bfloat16)
    z, log_det = half(x.bfloat16())
    assert (z[0].dtype, log_det.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(log_det.double(), expected, atol=0.1, rtol=0)
    assert expected.abs().max() > 0.2
    bits = half.bits_per_dim(torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8))
    assert bits.dtype == torch.float32
    assert half.log_prob(x.bfloat16()).dtype == torch.float32


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, as it generates code
@pytest.mark.parametrize("name", ONE_EACH.values())
def test_torch_compile_to_machine_code(name):
    flow = randomize(MODELS[name](), 0.2)
    x = batch(flow)
    z, log_det = torch.compile(flow, fullgraph=True)(x)
    torch.testing.assert_close(log_det, flow(x)[1])
    torch.testing.assert_close(torch.compile(flow.log_prob, fullgraph=True)(x), flow.log_prob(x))
    back, log_det = torch.compile(flow.inverse, fullgraph=True)(tuple(level.detach() for level in z))
    torch.testing.assert_close(back, x, atol=1e-7, rtol=0)
    torch.testing.assert_close(log_det, -flow(x)[1])


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda flow: Observables(mera.physics.FreeField()).measure(flow.sample(2)), "observables of fields"),
        (lambda flow: flow.stream(torch.zeros(1, 8, 8).numpy()), "the flow of a stream"),
        (
            lambda flow: flow.inpaint(torch.zeros(1, 1, 8, 8).bfloat16(), [(0, 2), (0, 2)], samples=2),
            "samples of fillings",
        ),
    ],
)
def test_what_needs_single_precision_says_so(call, what):
    flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(4,), layers=1).bfloat16()
    with pytest.raises(ValueError, match=f"Expected single or double precision for {what}; got bfloat16"):
        call(flow)


def test_torch_compile_of_the_preprocessing():
    """Which is a part of the loss of images that training compiles."""
    preprocess, x = ImagePreprocess(), 256 * torch.rand(2, 3, 4, 4)
    y, log_det = torch.compile(preprocess, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close((y, log_det), preprocess(x))
