"""Whatever a backward pass remembers, values and gradients are the same, and memory is what was promised."""

import pytest
import torch

import mera
from mera.run.memory import MEMORY
from tests.helpers.laws import randomize
from tests.tables.models import MODELS, batch


def gradients(flow, x, memory):
    flow.memory = memory
    flow.zero_grad()
    x = x.clone().requires_grad_()
    log_prob = flow.log_prob(x)
    (log_prob * torch.arange(1, len(x) + 1)).sum().backward()
    return [log_prob.detach(), x.grad, *(p.grad.clone() for p in flow.parameters())]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("memory", ["checkpoint", "invert"])
def test_gradients_are_those_of_plain_autograd(name, memory):
    flow = randomize(MODELS[name](), 0.2)
    x = batch(flow, 3)
    for found, expected in zip(gradients(flow, x, memory), gradients(flow, x, "store"), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


FROZEN = {
    "the first parameter": lambda names: names[:1],
    "every third parameter": lambda names: names[::3],
    "a node": lambda names: [name for name in names if name.startswith("bijectors.disentangler0.")],
    "all nodes but the last": lambda names: [name for name in names if not name.startswith("bijectors.decimator1.")],
    "all but the last parameter": lambda names: names[:-1],
}


@pytest.mark.parametrize("frozen", FROZEN)
@pytest.mark.parametrize("memory", ["checkpoint", "invert", {"disentangler0": "invert", "decimator1": "checkpoint"}])
@pytest.mark.parametrize("gradient_of_data", [False, True])
def test_frozen_parameters(frozen, memory, gradient_of_data):
    """Frozen parameters get no gradient; the others, and the data if asked for, get that of plain autograd."""
    flow = randomize(MODELS["rgflow"](), 0.2)
    names = FROZEN[frozen]([name for name, _ in flow.named_parameters()])
    for name in names:
        flow.get_parameter(name).requires_grad_(False)
    assert 0 < len(names) < len(list(flow.parameters()))
    found = []
    for way in (memory, "store"):
        flow.memory = way
        flow.zero_grad()
        x = batch(flow, 2) if not found else found[0][0].detach().clone()
        flow.log_prob(x.requires_grad_(gradient_of_data)).sum().backward()
        found.append((x, x.grad, {name: p.grad for name, p in flow.named_parameters() if p.grad is not None}))
    (_, of_data, gradients), (_, expected_of_data, expected) = found
    assert set(gradients) == set(expected) == {name for name, _ in flow.named_parameters()} - set(names)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-9, rtol=1e-9, msg=name)
    assert (of_data is not None) == gradient_of_data
    if gradient_of_data:
        torch.testing.assert_close(of_data, expected_of_data, atol=1e-9, rtol=1e-9)


def test_memory_of_single_nodes():
    flow = MODELS["rgflow"]()
    flow.memory = {"disentangler0": "invert", "decimator1": "checkpoint"}
    assert dict(flow.memory) == {
        "disentangler0": "invert", "decimator0": "store", "disentangler1": "store", "decimator1": "checkpoint"
    }  # fmt: skip
    with pytest.raises(TypeError):
        flow.memory["decimator0"] = "invert"  # would change nothing


@pytest.mark.parametrize("memory", MEMORY)
def test_gradients_within_fixed_weights(memory):
    """Nobody keeps to the promise of the block, and gradients are asked for: then it does not count."""
    flow = randomize(MODELS["rgflow-paper"](), 0.2)
    x = batch(flow, 2)
    with mera.fixed_weights():
        with torch.no_grad():
            flow.log_prob(x)
            for parameter in flow.parameters():
                parameter.mul_(1.1)
        found = gradients(flow, x, memory)
    for one, other in zip(found, gradients(flow, x, "store"), strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


def test_weights_that_change_before_the_way_back():
    flow = randomize(MODELS["rgflow"](), 0.2)
    flow.memory, x = "invert", batch(flow, 2)
    loss = flow.log_prob(x).sum()
    with torch.no_grad():
        next(flow.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    others = {name: parameter.detach().clone().requires_grad_() for name, parameter in flow.named_parameters()}
    loss = torch.func.functional_call(flow, others, (x,))[1].sum()
    with pytest.raises(RuntimeError, match="Expected the weights of the forward pass in the backward pass"):
        loss.backward()


def kept(depth, memory):
    """Bytes that the graph of a flow of one node of so many layers holds on to."""
    sizes = {"L": 4, "layers": depth, "hidden": (8,), "smooth_prior": False}
    flow = mera.build("rgflow", memory={"decimator0": memory, "disentangler0": "store"}, **sizes)
    weights = {tensor.untyped_storage().data_ptr() for tensor in [*flow.parameters(), *flow.buffers()]}
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.randn(64, 3, 4, 4)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y, log_det = MEMORY[memory](flow.bijectors["decimator0"], x, None)
        del y
    return sum(size for place, size in saved.items() if place not in weights), log_det


def test_memory_does_not_grow_with_depth():
    assert kept(8, "store")[0] > 6 * kept(1, "store")[0]
    assert kept(8, "checkpoint")[0] < kept(8, "store")[0] / 2
    assert kept(8, "invert")[0] == kept(1, "invert")[0] == 64 * 3 * 16 * 4


def test_bfloat16_inverts_what_it_computed():
    flow = randomize(MODELS["rgflow"](), 0.2).float()
    x = batch(flow, 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        for found, expected in zip(gradients(flow, x, "invert"), gradients(flow, x, "store"), strict=True):
            torch.testing.assert_close(found, expected, atol=2e-2, rtol=5e-2)


def test_unknown_words_and_nodes():
    with pytest.raises(ValueError, match=r"Expected memory of node 'disentangler0' among .*; got 'none'"):
        mera.build("rgflow", L=4, memory="none")
    with pytest.raises(ValueError, match=r"Expected a node with a bijector among .*did you mean 'decimator0'"):
        mera.build("rgflow", L=4, memory={"decimator": "store"})
