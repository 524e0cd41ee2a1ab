"""A backward pass that runs layers again has the same gradients, and keeps less."""

import pytest
import torch

import mera
from mera.bijectors import Conditioned, Invert
from tests.helpers.laws import randomize
from tests.helpers.quick import quick_of
from tests.tables.models import MODELS, batch


def gradients(flow, x, checkpoint):
    flow.checkpoint = checkpoint
    flow.zero_grad()
    x = x.clone().requires_grad_()
    log_prob = flow.log_prob(x)
    (log_prob * torch.arange(1, len(x) + 1)).sum().backward()
    return [log_prob.detach(), x.grad, *(p.grad.clone() for p in flow.parameters() if p.requires_grad)]


@pytest.mark.parametrize("name", quick_of(MODELS, [*MODELS][::4]))
def test_gradients_are_those_of_plain_autograd(name):
    flow = randomize(MODELS[name](), 0.2)
    next(flow.parameters()).requires_grad_(False)
    x = batch(flow, 3)
    for found, expected in zip(gradients(flow, x, True), gradients(flow, x, False), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


def kept(depth, checkpoint):
    """Bytes that the graph of a flow with so many layers holds on to."""
    flow = mera.build("rgflow", L=4, layers=depth, hidden=(32,), checkpoint=checkpoint)
    weights = {tensor.untyped_storage().data_ptr() for tensor in [*flow.parameters(), *flow.buffers()]}
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.randn(64, 3, 4, 4)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        log_prob = flow.log_prob(x)
    return sum(size for place, size in saved.items() if place not in weights), log_prob


def test_memory_of_many_layers():
    assert kept(8, False)[0] > 4 * kept(1, False)[0]
    assert kept(8, True)[0] < kept(8, False)[0] / 3
    with pytest.raises(ValueError, match="checkpoint as True or False"):
        mera.build("rgflow", L=4, checkpoint="store")


def test_other_weights_in_the_backward_pass_are_refused():
    flow = randomize(MODELS["rgflow"](), 0.2)
    flow.checkpoint, x = True, batch(flow, 2)
    loss = flow.log_prob(x).sum()
    with torch.no_grad():
        next(flow.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="Expected the weights of the forward pass in the backward pass"):
        loss.backward()
    others = {name: parameter.detach().clone().requires_grad_() for name, parameter in flow.named_parameters()}
    loss = torch.func.functional_call(flow, others, (x,))[1].sum()
    with pytest.raises(RuntimeError, match="Expected the weights of the forward pass in the backward pass"):
        loss.backward()


def several(shape, context_shape=None):
    """Six couplings in a chain."""
    return mera.bijectors.named("coupling", {"hidden": (32,), "layers": 6})(shape, context_shape)


def kept_by(flow, x):
    """The number of values that a pass keeps for its backward pass."""
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        log_prob = flow.log_prob(x)
    return sum(saved.values()), log_prob


@pytest.mark.parametrize(
    ("make", "passive"), [(lambda shape: Invert(several(shape)), 0), (lambda shape: Conditioned(shape, 1, several), 1)]
)
def test_layers_of_inverted_and_conditioned_bijectors(make, passive):
    """What they call keeps its inputs, as the members of a chain do."""
    layout = mera.Layout((4, 4), 3)
    layout.latent(layout.local(layout.input, make, kernel=4, passive=passive))
    flow, x = mera.Flow(layout), torch.randn(256, 3, 4, 4)
    before, _ = kept_by(flow, x)
    flow.checkpoint = True
    assert kept_by(flow, x)[0] < before / 2


def test_flows_that_share_bijectors_have_settings_of_their_own():
    flow = randomize(MODELS["rgflow"](), 0.2)
    larger = flow.resized(tuple(2 * n for n in flow.plan.input.shape))
    larger.checkpoint, x = True, batch(flow, 2)
    others = {name: parameter.detach().clone().requires_grad_() for name, parameter in flow.named_parameters()}
    torch.func.functional_call(flow, others, (x,))[1].sum().backward()  # refused for a flow that runs layers again
    assert (flow.checkpoint, larger.checkpoint) == (False, True)
