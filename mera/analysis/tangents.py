"""Derivatives of generated data with respect to latents, inside the generation cones of the latents.

A pass from latents to data is linearised event by event, and only the events in the cone of a latent are evaluated. The
cost of a receptive field therefore depends on the size of the cone, not on the size of the lattice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.autograd import forward_ad

from mera.analysis.wiring import WiredStep, Wiring
from mera.bijectors.base import Bijector, context_arguments
from mera.graph.runner import Runner

ROWS = 2**22
"""The largest number of floats in the events of one batch."""


_ways: WeakKeyDictionary[Bijector, Callable[..., list[Tensor]]] = WeakKeyDictionary()
"""How the inverse of a bijector is differentiated, found out once."""


class Linearization:
    """A pass from latents to data with all intermediate values, for derivatives.

    Args:
        runner: the plan of a flow with its bijectors.
        z: latents, one tensor (S, C_h, *shape_h) for each level, finest first.
        context: the contexts of a conditional flow, (S, ...) or (1, ...).
    """

    @torch.no_grad()
    def __init__(self, runner: Runner, z: Sequence[Tensor], context: Tensor | None = None) -> None:
        self.runner, self.samples = runner, len(z[0])
        self.wiring = Wiring(runner.plan)
        self._contexts = runner.contexts(context, z[0])
        self._values = z[0].new_empty(self.samples, self.wiring.size)
        """The variables of each sample by address, (S, addresses)."""
        for level, addresses in zip(z, self.wiring.latents, strict=True):
            self._values[:, addresses.flatten().to(level.device)] = level.flatten(1)
        for wired in self.wiring.steps:
            bijector, inputs = runner.bijector(wired.step), wired.inputs.flatten().to(z[0].device)
            events = self._values[:, inputs].view(-1, *wired.step.apply.event_shape)
            x, _ = bijector.inverse(events, *context_arguments(bijector, self._contexts(wired.step)))
            self._values[:, wired.outputs.flatten().to(z[0].device)] = x.reshape(self.samples, -1)

    @torch.no_grad()
    def fields(self, addresses: Tensor) -> tuple[Tensor, Tensor]:
        """The derivatives of the data with respect to latents.

        Args:
            addresses: the addresses of K latents in the wiring, (K,); latents close to each other share most of a cone.

        Returns:
            The flat indices (n,), in the order (C, *shape), of the variables of the data in the generation cone of the
            latents; and the derivatives (K, S, n).
        """
        steps, changed = self.wiring.cone(addresses)
        place = torch.full((self.wiring.size,), len(changed))  # outside the cone: a column of zeros
        place[changed] = torch.arange(len(changed))
        place = place.to(self._values.device)
        tangents = self._values.new_zeros(len(addresses), self.samples, len(changed) + 1)
        tangents[torch.arange(len(addresses)), :, place[addresses]] = 1
        for wired, events in steps:
            for part in events.split(max(1, ROWS // (len(addresses) * self.samples * wired.inputs.shape[1]))):
                sources, targets = place[wired.inputs[part].flatten()], place[wired.outputs[part].flatten()]
                tangents[..., targets] = self._push(wired, part, tangents[..., sources])
        data = changed[changed < self.runner.plan.input.variables]
        return data, tangents[..., place[data]]

    def _push(self, wired: WiredStep, events: Tensor, tangents: Tensor) -> Tensor:
        """Push derivatives (K, S, events * variables) through the inverse of a bijector."""
        step, device = wired.step, tangents.device
        bijector = self.runner.bijector(step)
        with torch.inference_mode(False), torch.enable_grad():  # whatever mode the caller is in
            z = self._values[:, wired.inputs[events].flatten().to(device)].reshape(-1, *step.apply.event_shape).clone()
            context = self._contexts(step)
            if context is not None:
                rows = torch.arange(self.samples, device=device)[:, None] * (len(context) // self.samples)
                context = context.clone()[(rows + events.to(device)).flatten()]
            if bijector not in _ways:
                one = partial(_inverse, bijector, None if context is None else context[:1])
                _ways[bijector] = _by_gradients if _has_all_gradients(one, z[:1]) else _by_duals
            parts = [t.clone().reshape(z.shape) for t in tangents]
            pushed = _ways[bijector](partial(_inverse, bijector, context), z, parts)
        return torch.stack(pushed).reshape(tangents.shape)


def _inverse(bijector: Bijector, context: Tensor | None, z: Tensor) -> Tensor:
    return bijector.inverse(z, *context_arguments(bijector, context))[0]


def _has_all_gradients(function: Callable[[Tensor], Tensor], z: Tensor) -> bool:
    """Whether both ways agree at z: a function may compute a part or all of its values without gradients."""
    tangents = [torch.ones_like(z)]
    try:
        (found,) = _by_gradients(function, z.clone(), tangents)
    except RuntimeError:
        return False
    try:
        (expected,) = _by_duals(function, z, tangents)
    except RuntimeError:  # of a function without forward mode
        return True
    rounding = torch.finfo(z.dtype).eps ** 0.5
    return torch.allclose(found, expected, rtol=rounding, atol=rounding * expected.abs().max().item())


def _by_gradients(function: Callable[[Tensor], Tensor], z: Tensor, tangents: Sequence[Tensor]) -> list[Tensor]:
    """The products J t of the Jacobian of a function at z with tangents t.

    J t is the derivative of t^T (J^T v) with respect to v, where J^T v is computed once for all t. Forward mode takes
    longer, as torch runs its sums and products in Python.
    """
    z = z.requires_grad_()
    x = function(z)
    v = torch.zeros_like(x, requires_grad=True)
    (product,) = torch.autograd.grad(x, z, v, create_graph=True)
    return [torch.autograd.grad(product, v, t, retain_graph=True)[0] for t in tangents]


def _by_duals(function: Callable[[Tensor], Tensor], z: Tensor, tangents: Sequence[Tensor]) -> list[Tensor]:
    """The same by forward mode, for a function that cannot be differentiated twice."""
    pushed = []
    for tangent in tangents:
        with torch.no_grad(), forward_ad.dual_level():
            x = forward_ad.unpack_dual(function(forward_ad.make_dual(z.detach(), tangent)))
            pushed.append(torch.zeros_like(z) if x.tangent is None else x.tangent)
    return pushed
