"""Evaluation restricted to a cone equals the full evaluation."""

import copy
import gc
import math
import pickle
import weakref
from functools import partial

import pytest
import torch
from hypothesis import assume, given
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

import mera
from mera.bijectors import Bijector
from mera.cones.recording import MAX_RECORDINGS, RECORDED_AT_CALL, Recorded
from tests.helpers.laws import Dense, randomize
from tests.helpers.quick import quick_of
from tests.helpers.strategies import few, layouts, make_flow
from tests.tables.models import CONDITIONAL, MODELS, ONE_EACH, contexts


def recordings(restriction):
    """For each set of shapes that was tried, whether there is a recording that reproduces the function."""
    return [recording is not None for recording in restriction.evaluation._recordings.values()]


def check_equal(flow, mask, k=3, atol=1e-10):
    """log p, its gradient, encode and decode, for arbitrary pixels and for arbitrary latents."""
    channels, *_ = flow.plan.input.event_shape
    x = 0.5 * torch.randn(1, *flow.plan.input.event_shape, dtype=torch.float64)
    context = () if flow.plan.context is None else (contexts(flow, 1),)
    local = flow.restrict(x, mask, *context)
    pixels = 0.5 * torch.randn(k, channels, int(mask.sum()), dtype=torch.float64)
    whole = x.repeat(k, *[1] * (x.ndim - 1))
    whole[:, :, mask] = pixels
    assert torch.equal(local.fill(pixels), whole)
    x_before = x.clone()
    x[:, :, mask] = torch.nan  # the image is the restriction's own from now on
    x = x_before
    torch.testing.assert_close(local.pixels, x[:, :, mask])
    torch.testing.assert_close(local.image[:, :, ~local.hidden], x[:, :, ~mask])
    pixels.requires_grad_()
    filled = whole.clone()
    filled[:, :, mask] = pixels
    full, restricted = flow.log_prob(filled, *context), local.log_prob(pixels)
    torch.testing.assert_close(restricted, full, atol=atol, rtol=1e-12)
    torch.testing.assert_close(local.log_prob(pixels[1:2]), full[1:2], atol=atol, rtol=1e-12)
    gradients = [torch.autograd.grad(value.sum(), pixels)[0] for value in (restricted, full)]
    torch.testing.assert_close(*gradients, atol=atol, rtol=1e-10)
    z = flow(whole, *context)[0]
    latents = local.encode(pixels.detach())
    for level, changes, own in zip(z, local.cone.levels, latents, strict=True):
        torch.testing.assert_close(own, level[:, :, changes], atol=atol, rtol=1e-10)
    torch.testing.assert_close(local.decode(latents), pixels.detach(), atol=1e-7, rtol=1e-7)

    others = [level + 0.03 * torch.randn_like(level) for level in latents]
    z = [level.repeat(k, *[1] * (level.ndim - 1)) for level in flow(x, *context)[0]]
    for level, changes, other in zip(z, local.cone.levels, others, strict=True):
        level[:, :, changes] = other
    generated = flow.inverse(z, *context)[0][:, :, mask]
    finite = generated.isfinite()  # the inverse of a bijector may overflow far from data
    assert finite.any()
    torch.testing.assert_close(local.decode(others)[finite], generated[finite], atol=1e-8, rtol=1e-8)
    assert int(local.in_cone.sum()) == local.cone.count
    return local


def some_mask(shape, density):
    mask = torch.rand(shape) < density
    assume(mask.any() and not mask.all())
    return mask


@given(layouts())
@few
def test_random_layouts(layout):
    flow = make_flow(layout)
    check_equal(flow, some_mask(flow.plan.input.shape, 0.2))


@given(layouts(dense=True))
@few
def test_random_dense_layouts(layout):
    flow = make_flow(layout)
    check_equal(flow, some_mask(flow.plan.input.shape, 0.2))


LARGE = [
    ("rgflow", {"L": 32, "hidden": (7,), "layers": 2}),
    ("rgflow", {"L": 16, "m": 2, "order": "authors", "channels": 1, "hidden": (5,)}),
    ("rgflow", {"L": 32, "order": "authors", "boundary": "open", "hidden": (5,), "prior": "gaussian"}),
    ("rgflow", {"L": 16, "conditioner": "authors", "share_levels": True, "hidden": (5,)}),
    ("rgflow", {"L": 64, "dim": 1, "hidden": (5,), "channels": 2}),
    ("rgflow", {"L": 8, "dim": 3, "m": 2, "hidden": (5,), "channels": 2}),
    ("realnvp", {"L": (32, 16), "m": 8, "hidden": (5,), "layers": 1, "boundary": "periodic"}),
    ("decimation", {"L": (8, 16), "m": 2, "hidden": (5,)}),
]
FLOWS = [partial(mera.build, model, **{"layers": 1, "residual_blocks": 1} | options) for model, options in LARGE]
FLOWS += [MODELS[name] for name in (*ONE_EACH.values(), "rgflow-spline", "rgflow-authors")]
FLOWS += quick_of([*CONDITIONAL.values()], [*CONDITIONAL.values()][::3])


@pytest.mark.parametrize("build", FLOWS)
def test_models(build):
    flow = randomize(build(), 0.05)
    shape = flow.plan.input.shape
    corner = torch.zeros(shape, dtype=torch.bool)
    corner[(slice(0, 2),) * len(shape)] = True
    check_equal(flow, corner.roll([n // 2 for n in shape], tuple(range(len(shape)))) | corner)  # two regions
    check_equal(flow, torch.rand(shape) < 0.7)


def test_recorded_calls_equal_those_before():
    flow = randomize(mera.build("rgflow", L=16, hidden=(6,)), 0.1)
    local = flow.restrict(torch.randn(1, 3, 16, 16, dtype=torch.float64), ((3, 6), (4, 6)))
    for _ in range(2 * RECORDED_AT_CALL):
        pixels = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
        full = flow.log_prob(local.fill(pixels.detach()))
        torch.testing.assert_close(local.log_prob(pixels), full)
        (gradient,) = torch.autograd.grad(local.log_prob(pixels).sum(), pixels)
        whole = local.fill(pixels.detach()).requires_grad_()
        (expected,) = torch.autograd.grad(flow.log_prob(whole).sum(), whole)
        torch.testing.assert_close(gradient, expected[:, :, local.hidden])
        torch.testing.assert_close(local.decode(local.encode(pixels)), pixels)
    assert recordings(local) == [True]
    mapped = torch.func.vmap(lambda p: local.log_prob(p[None])[0])(pixels)
    torch.testing.assert_close(mapped, local.log_prob(pixels))
    curvature = torch.func.jacrev(torch.func.grad(lambda p: local.log_prob(p).sum()))(pixels.detach())
    again = torch.autograd.functional.hessian(lambda p: local.log_prob(p).sum(), pixels.detach())
    torch.testing.assert_close(curvature, again)


class Chooses(Bijector):
    """Looks at its data: a recording would keep to the way that the first data took."""

    def forward(self, x):
        sign = 1 if x.sum() > 0 else -1
        return sign * x, x.new_zeros(len(x))

    def inverse(self, y):
        return y, y.new_zeros(len(y))


class HidesGradients(Bijector):
    """Switches gradients off within, which a recording would not know, for a part of the log-det of some size."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        with torch.no_grad():
            hidden = self.size * x.square().flatten(1).mean(1)
        return x, hidden + x.flatten(1).mean(1)

    def inverse(self, y):
        return y, -self.size * y.square().flatten(1).mean(1) - y.flatten(1).mean(1)


@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_what_hides_gradients_is_not_replayed(size):
    layout = mera.Layout((8,), 1)
    layout.latent(layout.local(layout.local(layout.input, HidesGradients(size), kernel=2), Dense, kernel=4))
    flow = randomize(mera.Flow(layout, "gaussian"))
    local = flow.restrict(torch.randn(1, 1, 8, dtype=torch.float64), torch.arange(8) == 3)
    pixels = torch.randn(2, 1, 1, dtype=torch.float64, requires_grad=True)
    gradients = []
    for _ in range(2 * RECORDED_AT_CALL):
        gradients.append(torch.autograd.grad(local.log_prob(pixels).sum(), pixels)[0])
    assert recordings(local) == [False]
    assert all(torch.equal(g, gradients[0]) for g in gradients)


def test_a_recording_made_in_inference_mode_serves_for_gradients():
    flow = randomize(mera.build("rgflow", L=8, hidden=(4,))).float()
    with torch.inference_mode():
        local = flow.restrict(GOOD + 1, MASK)
        for _ in range(RECORDED_AT_CALL + 1):
            local.log_prob(local.pixels)
            local.decode(local.encode(local.pixels))
    for function in (local.evaluation, local._decode):
        assert all(function._recordings.values())
    pixels = local.pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(local.log_prob(pixels).sum(), pixels)
    assert gradient.isfinite().all()
    again = pickle.loads(pickle.dumps(local))
    torch.testing.assert_close(again.log_prob(pixels), local.log_prob(pixels))


def test_what_looks_at_its_data_is_not_replayed():
    layout = mera.Layout((8,), 1)
    layout.latent(layout.local(layout.local(layout.input, Chooses(), kernel=8), Dense, kernel=4))
    flow = randomize(mera.Flow(layout, "gaussian"))
    local = flow.restrict(torch.randn(1, 1, 8, dtype=torch.float64), torch.arange(8) == 3)
    for _ in range(3 * RECORDED_AT_CALL):
        pixels = torch.randn(1, 1, 1, dtype=torch.float64)
        torch.testing.assert_close(local.log_prob(pixels), flow.log_prob(local.fill(pixels)))
    assert recordings(local) == [False]


def test_recordings_are_few(monkeypatch):
    double = Recorded(lambda x: 2 * x)
    for n in range(1, 20):
        for _ in range(RECORDED_AT_CALL + 1):
            assert torch.equal(double(torch.ones(n)), 2 * torch.ones(n))
    assert len(double._recordings) == MAX_RECORDINGS
    with monkeypatch.context() as patch:
        patch.setattr("mera.cones.recording._record", lambda *_: pytest.fail("recorded at once"))
        double(torch.ones(1))  # its recording was dropped; one call does not make it hot again


def test_without_a_recorder_everything_runs_eagerly(monkeypatch):
    """A torch without its deprecated recorder serves: the same values, from the functions themselves."""
    flow = randomize(mera.build("rgflow", L=8, hidden=(4,), conditioner="authors"))
    x, pixels = torch.randn(1, 3, 8, 8, dtype=torch.float64), torch.randn(3, 3, 6, dtype=torch.float64)
    recorded, eager = flow.restrict(x, MASK), flow.restrict(x, MASK)
    expected = [recorded.log_prob(pixels) for _ in range(2 * RECORDED_AT_CALL)]
    assert recordings(recorded) == [True]
    monkeypatch.setattr("mera._utils.torch_private._create_graph", None)
    monkeypatch.delattr(torch.jit, "is_tracing")
    monkeypatch.delattr(torch.jit, "optimized_execution")
    for value in expected:
        torch.testing.assert_close(eager.log_prob(pixels), value)
    assert not any(recordings(eager))
    torch.testing.assert_close(eager.decode(eager.encode(pixels)), pixels)
    torch.testing.assert_close(flow.inverse(flow(x)[0])[0], x)


def test_no_setting_at_all_is_fine():
    local = mera.build("rgflow", L=8, hidden=(4,)).restrict(GOOD, MASK)
    none = torch.zeros(0, 3, 6)
    assert local.log_prob(none).shape == (0,)
    assert local.decode(local.encode(none)).shape == none.shape
    assert repr(local).startswith("Restriction(6 pixels, and ")


def test_parameters_count_as_constants():
    flow = randomize(mera.build("rgflow", L=8, hidden=(4,), conditioner="authors"))
    local = flow.restrict(torch.randn(1, 3, 8, 8, dtype=torch.float64), (0, 0))
    pixels = torch.randn(2, 3, 1, dtype=torch.float64, requires_grad=True)
    local.log_prob(pixels).sum().backward()
    assert pixels.grad is not None
    assert all(p.grad is None and p.requires_grad for p in flow.parameters())


def test_only_the_cone_is_evaluated():
    flow = mera.build("rgflow", L=64, hidden=(4,))
    local = flow.restrict(torch.randn(1, 3, 64, 64), ((20, 24), (20, 24)))
    rows = []
    for bijector in local.flow.bijectors.values():
        bijector.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    local.log_prob(torch.randn(5, 3, 16))
    assert rows == [5 * n for n in local.cone.blocks]
    assert sum(rows) < 5 * 100


GOOD = torch.zeros(1, 3, 8, 8)
MASK = torch.zeros(8, 8, dtype=torch.bool)
MASK[2:4, 2:5] = True


@pytest.mark.parametrize(
    ("x", "mask", "message"),
    [
        (GOOD, torch.ones(8, 8, dtype=torch.bool), "Expected a mask that leaves some pixels unmasked"),
        (GOOD, MASK[:4], r"Expected a mask of shape \(8, 8\)"),
        (GOOD.repeat(2, 1, 1, 1), MASK, r"Expected one image, \(1, C, ...\); got 2"),
        (GOOD[0], MASK, "Expected data of shape"),
        (GOOD.double(), MASK, "Expected data of dtype torch.float32"),
        (GOOD.byte(), MASK, "Expected data of dtype torch.float32"),
        (torch.full_like(GOOD, torch.nan), MASK, "Expected finite pixels.*got 192 NaN or infinite"),
    ],
)
def test_refused(x, mask, message):
    with pytest.raises(ValueError, match=message):
        mera.build("rgflow", L=8, hidden=(4,)).restrict(x, mask)


@pytest.mark.parametrize("name", ["rgflow", "realnvp"])
def test_checkpoints_of_restricted_passes(name):
    flow = randomize(MODELS[name](), 0.2)
    x, mask, pixels = torch.randn(1, 1, 8, 8).double(), ((2, 4), 3), torch.randn(3, 1, 2).double().requires_grad_()
    (expected,) = torch.autograd.grad(flow.restrict(x, mask).log_prob(pixels).sum(), pixels)
    flow.checkpoint = True
    local = flow.restrict(x, mask)
    for _ in range(2 * RECORDED_AT_CALL):
        (gradient,) = torch.autograd.grad(local.log_prob(pixels).sum(), pixels)
        torch.testing.assert_close(gradient, expected)
    assert recordings(local) == []  # a recording would keep all that the checkpoint does not


@pytest.mark.parametrize("options", [{"conditioner": "authors"}, {"details": 2}])
def test_published_networks_and_convolutions_are_recorded(options):
    flow = randomize(mera.build("rgflow", L=8, channels=1, **options), 0.1)
    local = flow.restrict(torch.randn(1, 1, 8, 8, dtype=torch.float64), ((2, 4), 3))
    for rows in (1, 100):
        for _ in range(RECORDED_AT_CALL + 1):
            pixels = torch.randn(rows, 1, 2, dtype=torch.float64)
            torch.testing.assert_close(local.log_prob(pixels), flow.log_prob(local.fill(pixels)))
    assert recordings(local) == [True, True]


@pytest.mark.parametrize("name", ["realnvp", "glow", "wavelet"])
@pytest.mark.parametrize("context", [None, (2, 64, 64)])
def test_convolutions_on_boxes_are_recorded(name, context):
    """Also with a context for each pixel, which is cut to the boxes; values and gradients are those of the flow."""
    flow = randomize(mera.build(name, L=64, levels=2, layers=1, hidden=(4,), context=context), 0.1)
    x, given = torch.randn(1, 3, 64, 64).double(), None if context is None else torch.randn(1, *context).double()
    local = flow.restrict(x, ((30, 33), (0, 2)), context=given)
    assert all(part.boxes for part in local._subplan.steps if part.step.apply.is_field)
    pixels = (local.pixels + torch.randn(3, 3, 6).double()).requires_grad_()
    whole = flow.log_prob(local.fill(pixels), None if given is None else given.expand(3, -1, -1, -1))
    for _ in range(RECORDED_AT_CALL + 1):
        found = local.log_prob(pixels)
        torch.testing.assert_close(found, whole)
        gradients = [torch.autograd.grad(v.sum(), pixels, retain_graph=True)[0] for v in (found, whole)]
        torch.testing.assert_close(*gradients)
    assert recordings(local) == [True]


def test_a_recording_is_freed_with_its_restriction():
    """torch.jit.trace would keep the tensors that the function reads until the process ends."""
    kept = []

    def make() -> None:
        constant = torch.randn(50, 50)
        kept.append(weakref.ref(constant))
        recorded = Recorded(lambda x: (x @ constant).sum(1))
        for _ in range(4):
            x = torch.randn(2, 50, requires_grad=True)
            recorded(x).sum().backward()

    make()
    gc.collect()
    assert kept[0]() is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's
def test_torch_compiles_a_restriction():
    flow = randomize(mera.build("rgflow", L=8, channels=1, layers=1, hidden=(4,)), 0.2)
    local = flow.restrict(torch.randn(1, 1, 8, 8, dtype=torch.float64), ((2, 4), 3))
    pixels = torch.randn(3, 1, 2, dtype=torch.float64, requires_grad=True)
    expected = local.log_prob(pixels)
    found = torch.compile(local.log_prob)(pixels)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value.sum(), pixels)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def change_every_parameter(write):
    """A change of a flow: `write(module, name, parameter)` for each parameter, the embedding of classes included."""

    def change(flow):
        for module in list(flow.modules()):
            for name, parameter in list(module.named_parameters(recurse=False)):
                write(module, name, parameter)

    return change


def of_linears(wrap):
    """A change of a flow: `wrap(linear)` for each linear map of its networks."""

    def change(flow):
        for part in list(flow.modules()):
            if isinstance(part, torch.nn.Linear):
                wrap(part)

    return change


def replace_linears(flow):
    for part in list(flow.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, torch.nn.Linear):
                setattr(part, name, torch.nn.Linear(child.in_features, child.out_features, dtype=torch.float64))


def step_fused(flow):
    """A fused step changes values without new versions; frozen norms were the first parameters of each module."""
    for name, parameter in flow.named_parameters():
        parameter.requires_grad_("shift" not in name and "log_scale" not in name)
    free = [parameter for parameter in flow.parameters() if parameter.requires_grad]
    context = torch.tensor([2])
    torch.optim.Adam(free, lr=1.0, fused=True).step(flow.log_prob(flow.sample(2, context), context).sum().backward)


def replace_module(flow):
    flow.bijectors["decimator0"] = randomize(copy.deepcopy(flow.bijectors["decimator0"]))


def change_prior_in_place(flow):
    flow.prior.values["scale"] = 3.0
    flow.prior.distribution.scale.mul_(3.0)


CHANGES = {
    "in place": change_every_parameter(lambda module, name, p: torch.nn.init.normal_(p)),
    "data in place": change_every_parameter(lambda module, name, p: p.data.mul_(2)),
    "new data": change_every_parameter(lambda module, name, p: setattr(p, "data", 2 * p.data)),
    "new parameter": change_every_parameter(lambda module, name, p: setattr(module, name, torch.nn.Parameter(2 * p))),
    "embedding": lambda flow: flow.context_encoder.embedding.weight.data.mul_(2),
    "buffers": lambda flow: [b.zero_() for b in flow.buffers()],
    "fused step": step_fused,
    "state dict": lambda flow: flow.load_state_dict({k: 2 * v for k, v in flow.state_dict().items()}),
    "assigned": lambda flow: flow.load_state_dict({k: 2 * v for k, v in flow.state_dict().items()}, assign=True),
    "new linear map": replace_linears,
    "pruned": of_linears(lambda linear: prune.random_unstructured(linear, "weight", amount=0.5)),
    "weight norm": of_linears(lambda linear: weight_norm(linear).parametrizations.weight.original0.data.mul_(2)),
    "dtype": lambda flow: flow.float(),
    "mode": lambda flow: flow.eval(),
    "module": replace_module,
    "prior": lambda flow: setattr(flow, "prior", mera.Prior("laplace")),
    "prior in place": change_prior_in_place,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_restriction_is_a_snapshot(name):
    flow = randomize(mera.build("rgflow", L=8, channels=2, hidden=(4,), classes=3))
    x, context = torch.randn(1, 2, 8, 8, dtype=torch.float64), torch.tensor([2])
    local = flow.restrict(x, ((3, 5), (4, 5)), context)
    pixels = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    latents = local.encode(pixels.detach())

    def values():
        log_prob = local.log_prob(pixels)
        return log_prob, *torch.autograd.grad(log_prob.sum(), pixels), *local.encode(pixels), local.decode(latents)

    for _ in range(RECORDED_AT_CALL):
        before = values()
    CHANGES[name](flow)
    for old, new in zip(before, values(), strict=True):
        assert torch.equal(old, new)
    again = pickle.loads(pickle.dumps(local))
    torch.testing.assert_close(again.log_prob(pixels), before[0])


def test_pixels_of_cones_are_restricted():
    flow = randomize(mera.build("rgflow", L=16, m=2, channels=1, hidden=(4,)))
    x, of_latent = torch.randn(1, 1, 16, 16, dtype=torch.float64), flow.generation_cone(0, (1, 1))
    for cone, region in ((flow.inference_cone(((3, 5), (4, 6))), ((3, 5), (4, 6))), (of_latent, of_latent.pixels)):
        local, expected = flow.restrict(x, cone), flow.restrict(x, region)
        assert local.cone.count == expected.cone.count
        assert torch.equal(local.log_prob(local.pixels), expected.log_prob(local.pixels))
    with pytest.raises(ValueError, match="16"):
        flow.restrict(x, flow.resized((32, 32)).inference_cone(((3, 5), (4, 6))))
    assert not hasattr(mera.Symmetrized(flow), "inference_cone")  # a mixture has other cones


def test_another_default_device():
    flow = randomize(mera.build("rgflow", L=8, channels=1, hidden=(4,), details=1, details_hidden=(3,)))
    x, region = torch.randn(1, 1, 8, 8, dtype=torch.float64), ((3, 5), (4, 6))
    expected = flow.log_prob(x)
    with torch.device("meta"):
        local = flow.restrict(x, region)
        for _ in range(2 * RECORDED_AT_CALL):
            torch.testing.assert_close(local.log_prob(local.pixels), expected)
        assert flow.window(0, *region).device == x.device
        assert flow.generation_cone(0, (2, 3)).pixels.any()
        assert mera.Symmetrized(flow, "reflections").log_prob(x).device == x.device


class Cubic(Bijector):
    """x + x^3, whose inverse takes as many steps as the data need: it looks at data through a shape alone."""

    def forward(self, x):
        return x + x**3, (1 + 3 * x**2).log().flatten(1).sum(1)

    def inverse(self, y):
        x = torch.zeros_like(y)
        while True:
            rest = x + x**3 - y
            if rest.abs().gt(1e-9 * (1 + y.abs())).nonzero().shape[0] == 0:
                return x, -(1 + 3 * x**2).log().flatten(1).sum(1)
            x = x - rest / (1 + 3 * x**2)


@pytest.mark.parametrize("looks", ["nonzero", "mask", "equal"])
def test_what_looks_at_data_through_shapes_is_not_recorded(looks):
    class Looking(Cubic):
        def forward(self, x):
            positive = {"nonzero": lambda: len(x.gt(0).nonzero()), "mask": lambda: x[x > 0].shape[0],
                        "equal": lambda: int(torch.equal(x, x.abs()))}[looks]()  # fmt: skip
            y, log_det = super().forward(x)
            return y * (2 + positive), log_det + math.log(2 + positive) * x[0].numel()

    layout = mera.Layout((4, 4), 1)
    layout.latent(layout.local(layout.input, Looking, kernel=4))
    flow = mera.Flow(layout).double()
    local = flow.restrict(torch.randn(1, 1, 4, 4, dtype=torch.float64).abs(), ((0, 2), (0, 2)))
    for scale in (0.1, 0.1, 0.1, -0.1, 3.0, -30.0):
        pixels = scale * torch.rand(1, 1, 4, dtype=torch.float64)
        torch.testing.assert_close(local.log_prob(pixels), flow.log_prob(local.fill(pixels)))


def test_a_solver_with_as_many_steps_as_the_data_need_is_not_recorded():
    layout = mera.Layout((4, 4), 1)
    layout.latent(layout.local(layout.input, Cubic, kernel=4))
    local = mera.Flow(layout).double().restrict(torch.zeros(1, 1, 4, 4, dtype=torch.float64), ((0, 2), (0, 2)))
    for scale in (0.1, 0.1, 0.1, 3.0, 30.0):
        pixels = scale * torch.randn(1, 1, 4, dtype=torch.float64)
        torch.testing.assert_close(local.decode(local.encode(pixels)), pixels, atol=1e-6, rtol=1e-6)
