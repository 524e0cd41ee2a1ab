"""What a forward pass keeps for the backward pass: all activations, what entered each layer, or only what came out."""

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

__all__ = ["MEMORY", "memory_per_node"]


def _store(bijector: Bijector, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Keep everything: the fastest, and memory grows with the activations of all networks."""
    return bijector(x, *context_arguments(bijector, context))


def _checkpoint(bijector: Bijector, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Keep what enters each layer and run the layer again on the way back, with the weights that it has then."""
    if not torch.is_grad_enabled():
        return bijector(x, *context_arguments(bijector, context))
    log_det = zero_log_det(x)
    for layer in _layers(bijector):
        x, change = checkpoint(layer, x, *context_arguments(layer, context), use_reentrant=False)
        log_det = log_det + change
    return x, log_det


def _invert(bijector: Bijector, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Keep what leaves the bijector and invert layer by layer on the way back: memory does not grow with their number.

    Derivatives of second order cannot be taken through it, and the weights must be the same on the way back.
    """
    if not torch.is_grad_enabled():
        return bijector(x, *context_arguments(bijector, context))
    layers = _layers(bijector)
    return _Inverted.apply(layers, x, context, *(p for layer in layers for p in layer.parameters()))


class _Inverted(torch.autograd.Function):
    """A chain of bijectors whose backward pass finds each layer's input by its inverse (Gomez et al. 2017)."""

    @staticmethod
    @changing_weights()
    def forward(
        ctx: Any, layers: list[Bijector], x: Tensor, context: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All layers in order, without a graph."""
        kind = x.device.type
        ctx.layers = layers
        ctx.autocast = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        ctx.places = [parameter.data_ptr() for parameter in parameters]
        log_det = zero_log_det(x)
        for layer in layers:
            x, change = layer(x, *context_arguments(layer, context))
            log_det = log_det + change
        ctx.save_for_backward(x, context, *parameters)  # so that torch refuses those that changed in place
        return x, log_det

    @staticmethod
    @torch.autograd.function.once_differentiable
    @changing_weights()
    def backward(ctx: Any, gradient: Tensor, log_det_gradient: Tensor) -> tuple[Any, ...]:
        """From the last layer to the first: its input, its graph, its gradients."""
        y, context, *_ = ctx.saved_tensors
        if ctx.places != [parameter.data_ptr() for layer in ctx.layers for parameter in layer.parameters()]:
            raise RuntimeError(
                "Expected the weights of the forward pass in the backward pass, for memory='invert'; got others: "
                "use 'store' with torch.func.functional_call"
            )
        kind, dtype, enabled = ctx.autocast
        of_parameters: list[Any] = []
        of_context: Tensor | None = None
        if ctx.needs_input_grad[2]:
            context = context.detach().requires_grad_()
            of_context = torch.zeros_like(context)
        given = [] if of_context is None else [context]
        for layer in reversed(ctx.layers):
            with torch.autocast(kind, dtype, enabled, cache_enabled=False):
                arguments = context_arguments(layer, context)
                x = layer.inverse(y, *arguments)[0].detach().requires_grad_()
                with torch.enable_grad():
                    outputs = layer(x, *arguments)
            pairs = zip(outputs, (gradient, log_det_gradient), strict=True)
            known = [(output, its) for output, its in pairs if output.requires_grad]
            wanted = [x, *given, *layer.parameters()]
            needed = [tensor for tensor in wanted if tensor.requires_grad]
            values, gradients = zip(*known, strict=True)
            found = iter(torch.autograd.grad(values, needed, gradients, allow_unused=True, materialize_grads=True))
            gradient = next(found)
            if of_context is not None:
                of_context = of_context + next(found)
            others = [next(found) if tensor.requires_grad else None for tensor in layer.parameters()]
            of_parameters = others + of_parameters
            y = x.detach()
        return None, gradient, of_context, *of_parameters


def _layers(bijector: Bijector) -> list[Bijector]:
    """The bijectors that a chain, and the chains in it, run one after the other."""
    if not isinstance(bijector, Chain):
        return [bijector]
    return [layer for member in bijector.bijectors for layer in _layers(member)]


MEMORY: dict[str, Callable[[Bijector, Tensor, Tensor | None], tuple[Tensor, Tensor]]] = {
    "store": _store,
    "checkpoint": _checkpoint,
    "invert": _invert,
}
"""By name, how to run a bijector forwards; all give the same values and gradients."""


def memory_per_node(value: str | Mapping[str, str], nodes: Sequence[str]) -> dict[str, str]:
    """For each node what a forward pass keeps, from one word for all nodes or a word for some of them.

    Raises:
        ValueError: if a word or a node is unknown.
    """
    words = dict(value) if isinstance(value, Mapping) else dict.fromkeys(nodes, value)
    for node, word in words.items():
        check_choice(node, nodes, "a node with a bijector")
        check_choice(word, MEMORY, f"memory of node {node!r}")
    return words
