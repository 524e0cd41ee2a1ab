"""Memory settings of a forward pass: the tensors that are kept for the backward pass.

- "store" keeps all activations, as autograd does.
- "checkpoint" keeps the input of each layer, and runs the layer again in the backward pass.
- "invert" keeps the output of each node, and inverts the node layer by layer in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mera._utils.checks import check_choice
from mera.bijectors import Bijector, Chain, zero_log_det
from mera.bijectors.base import context_arguments
from mera.bijectors.conditioners.fixed_weights import changing_weights


def _store(bijector: Bijector, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Keep all activations: the fastest, but memory grows with the number of layers and the width of networks."""
    return bijector(x, *context_arguments(bijector, context))


def _checkpoint(bijector: Bijector, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Keep the input of each layer; the backward pass runs the layer again, with its weights at that time."""
    if not torch.is_grad_enabled():
        return _store(bijector, x, context)
    log_det = zero_log_det(x)
    for layer in _layers(bijector):
        x, change = checkpoint(layer, x, *context_arguments(layer, context), use_reentrant=False)
        log_det = log_det + change
    return x, log_det


def _invert(bijector: Bijector, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Keep the output of the bijector, and invert it layer by layer in the backward pass.

    Memory does not grow with the number of layers. Second derivatives are not available, and the weights must be the
    same in the backward pass.
    """
    if not torch.is_grad_enabled():
        return _store(bijector, x, context)
    layers = _layers(bijector)
    return _Inverted.apply(layers, x, context, *(p for layer in layers for p in layer.parameters()))


class _Inverted(torch.autograd.Function):
    """A chain of layers whose backward pass computes the input of each layer from its output.

    Reversible networks are due to Gomez et al. (2017), https://arxiv.org/abs/1707.04585.
    """

    @staticmethod
    @changing_weights()
    def forward(
        ctx: Any, layers: list[Bijector], x: Tensor, context: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run all layers in order; autograd does not record their operations."""
        kind = x.device.type
        ctx.layers = layers
        dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        ctx.autocast = kind, dtype, enabled
        ctx.pointers = [parameter.data_ptr() for parameter in parameters]
        log_det = zero_log_det(x)
        with torch.autocast(kind, dtype, enabled, cache_enabled=False):  # a cached cast has no gradient
            for layer in layers:
                x, change = layer(x, *context_arguments(layer, context))
                log_det = log_det + change
        ctx.save_for_backward(x, context, *parameters)  # torch raises an error if they are changed in place
        return x, log_det

    @staticmethod
    @torch.autograd.function.once_differentiable
    @changing_weights()
    def backward(ctx: Any, gradient: Tensor, log_det_gradient: Tensor) -> tuple[Any, ...]:
        """Invert each layer, from the last to the first, run it again with autograd, and compute its gradients."""
        y, context, *_ = ctx.saved_tensors
        if ctx.pointers != [parameter.data_ptr() for layer in ctx.layers for parameter in layer.parameters()]:
            raise RuntimeError(
                "Expected the weights of the forward pass in the backward pass, for memory='invert'; got others: "
                "use 'store' with torch.func.functional_call"
            )
        kind, dtype, enabled = ctx.autocast
        parameter_gradients: list[Any] = []
        context_gradient: Tensor | None = None
        if ctx.needs_input_grad[2]:
            context = context.detach().requires_grad_()
            context_gradient = torch.zeros_like(context)
        contexts = [] if context_gradient is None else [context]
        for layer in reversed(ctx.layers):
            with torch.autocast(kind, dtype, enabled, cache_enabled=False):
                arguments = context_arguments(layer, context)
                x = layer.inverse(y, *arguments)[0].detach().requires_grad_()
                with torch.enable_grad():
                    outputs = layer(x, *arguments)
            pairs = zip(outputs, (gradient, log_det_gradient), strict=True)
            differentiable = [(output, output_gradient) for output, output_gradient in pairs if output.requires_grad]
            values, value_gradients = zip(*differentiable, strict=True)
            inputs = [tensor for tensor in (x, *contexts, *layer.parameters()) if tensor.requires_grad]
            gradients = iter(
                torch.autograd.grad(values, inputs, value_gradients, allow_unused=True, materialize_grads=True)
            )
            gradient = next(gradients)
            if context_gradient is not None:
                context_gradient = context_gradient + next(gradients)
            layer_gradients = [next(gradients) if tensor.requires_grad else None for tensor in layer.parameters()]
            parameter_gradients = layer_gradients + parameter_gradients
            y = x.detach()
        return None, gradient, context_gradient, *parameter_gradients


def _layers(bijector: Bijector) -> list[Bijector]:
    """The members of a chain, and of chains within it, in order; any other bijector is one layer."""
    if not isinstance(bijector, Chain):
        return [bijector]
    return [layer for member in bijector.bijectors for layer in _layers(member)]


MEMORY: dict[str, Callable[[Bijector, Tensor, Tensor | None], tuple[Tensor, Tensor]]] = {
    "store": _store,
    "checkpoint": _checkpoint,
    "invert": _invert,
}
"""By name, the functions that run a bijector forward; all of them compute the same values and gradients."""


def memory_per_node(value: str | Mapping[str, str], nodes: Sequence[str]) -> dict[str, str]:
    """The memory setting by the name of the node, without nodes that `value` does not mention.

    Args:
        value: a key of `MEMORY` for all nodes, or a dict from names of nodes to keys of `MEMORY`.
        nodes: the names of all nodes with a bijector.

    Raises:
        ValueError: if a key or a node is unknown.
    """
    settings = dict(value) if isinstance(value, Mapping) else dict.fromkeys(nodes, value)
    for node, setting in settings.items():
        check_choice(node, nodes, "a node with a bijector")
        check_choice(setting, MEMORY, f"memory of node {node!r}")
    return settings
