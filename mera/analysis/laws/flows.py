"""The laws of flows, layouts and priors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mera.analysis.laws.bijectors import TOLERANCE, check_bijector, events
from mera.analysis.laws.report import CheckReport
from mera.bijectors.prior import Prior
from mera.bijectors.round_trip import (
    SPREAD,
    dead_parameters,
    double_copy,
    jacobian_error,
    largest,
    round_trip_error,
    with_noise_on_parameters,
)
from mera.cones.all_cones import all_generation_cones, all_inference_cones
from mera.flow.density import Density
from mera.flow.flow import Flow
from mera.graph import Layout

MAX_VARIABLES = 400
"""The largest number of variables of a flow whose Jacobian is computed as a whole; of larger flows, by nodes."""
MAX_SITES = 4096
"""The largest number of pixels of a flow all of whose cones are compared."""
MAX_FLOW_ERROR = 1e-7
"""The largest error of a flow in double precision."""
MAX_CHANGE, HALVINGS = 1e-9, 10
"""The largest change of an event, by rounding its latents once, at which noise on parameters is not halved again."""
PLACES_COMPARED = 3
"""The number of pixels, and of latents of each level, that are changed to compare what changes with their cones."""


def check_layout(layout: Layout, report: CheckReport) -> None:
    """Check that a layout is a bijection, by its flow; and that its cones in both directions agree."""
    flow = Flow(layout)
    report.add("the layout compiles to a plan", True, f"{len(flow.plan.steps)} steps")
    check_flow(flow, report)


def check_flow(density: Density, report: CheckReport) -> None:
    """Check the laws of a flow, or of the flow of a mixture, as it is and with noise on its parameters."""
    bare = density.flow
    x, context = _data(bare)
    first = None if context is None else context[:1]
    versions = {"": double_copy(bare), ", random parameters": _with_noise(bare, x, context)}
    for suffix, flow in versions.items():
        with torch.no_grad():
            z, log_det = flow(x, context)
            again, opposite = flow.inverse(z, context)
            alone = flow.log_prob(x[:1], first)
            report.bound(f"inverse undoes forward{suffix}", round_trip_error(x, again, bare.of_angles), MAX_FLOW_ERROR)
            report.bound(f"log-dets of both directions cancel{suffix}", largest(log_det + opposite), MAX_FLOW_ERROR)
            difference = largest(flow.log_prob(x, context)[:1] - alone) / max(1.0, largest(alone))
            report.bound(f"images do not depend on each other{suffix}", difference, TOLERANCE)
        if flow.plan.input.variables <= MAX_VARIABLES:

            def rows(value: Tensor, flow: Flow = flow) -> Tensor:
                return torch.cat([level.flatten(1) for level in flow(value, first)[0]], dim=1)

            error = jacobian_error(rows, x[:1], log_det[:1])
            report.bound(f"log-det is that of the Jacobian{suffix}", error, MAX_FLOW_ERROR)
    flow = versions[", random parameters"]
    if flow.plan.input.variables > MAX_VARIABLES:
        _check_nodes(bare, report)
    _check_cones(flow, x[:1], first, report)
    z, log_det = flow(x, context)
    dead = dead_parameters(flow.bijectors, sum((level.square().sum() for level in z), log_det.square().sum()))
    report.add("a gradient for every parameter", not dead, ", ".join(dead)[:300])
    _check_samples(density, report)


def check_prior(prior: Prior, report: CheckReport) -> None:
    """Check by quadrature that a prior integrates to 1 over its support."""
    low, high = prior.support
    t = torch.linspace(-30, 30, 400_001, dtype=torch.float64)
    if math.isfinite(low) and math.isfinite(high):
        x, log_slope = low + (high - low) * t.sigmoid(), ((high - low) * t.sigmoid() * (-t).sigmoid()).log()
    else:
        (draws,) = prior.sample([(1001,)], [1.0], t)
        values = (draws - low).log() if math.isfinite(low) else draws
        middle = values.median()
        scale = (values - middle).abs().median()
        x, log_slope = middle + scale * t.sinh(), (scale * t.cosh()).log()
        if math.isfinite(low):
            x, log_slope = low + x.exp(), log_slope + x
    in_support = (x > low) & (x < high)
    total = torch.trapezoid(torch.where(in_support, (prior.log_density(x) + log_slope).exp(), 0.0), t)
    report.bound("the density integrates to 1", abs(total.item() - 1), 1e-3)


def _data(flow: Flow) -> tuple[Tensor, Tensor | None]:
    """Two random events of a flow in double precision, and their contexts."""
    x = events(2, flow.plan.input.event_shape, flow.of_angles)
    if flow.plan.context is None:
        return x, None
    if flow.context_encoder.classes is not None:
        return x, torch.arange(2) % flow.context_encoder.classes
    return x, torch.randn(2, *flow.plan.context, dtype=torch.float64)


@torch.no_grad()
def _with_noise(flow: Flow, x: Tensor, context: Tensor | None) -> Flow:
    """A copy in double precision with as much noise on its parameters as leaves the errors of rounding small.

    Deep flows with random parameters amplify rounding errors until no law can be measured.
    """
    for halvings in range(HALVINGS + 1):
        noisy = with_noise_on_parameters(double_copy(flow), SPREAD / 2**halvings)
        z, _ = noisy(x, context)
        rounded = [level * (1 + torch.finfo(x.dtype).eps * torch.randint_like(level, -1, 2)) for level in z]
        again, after_rounding = (noisy.inverse(latents, context)[0] for latents in (z, tuple(rounded)))
        if round_trip_error(again, after_rounding, flow.of_angles) <= MAX_CHANGE:
            break
    return noisy


def _check_nodes(flow: Flow, report: CheckReport) -> None:
    """Check each different bijector of a large flow by itself; the plan only moves variables between them."""
    checked: set[str] = set()
    for step in flow.plan.bijections:
        if step.module in checked:
            continue
        checked.add(step.module)
        node = CheckReport(step.node)
        check_bijector(flow.bijectors[step.module], node)  # type: ignore[arg-type]
        failed = "; ".join(f"{law.name}: {law.found}" for law in node.failures)
        skipped = sum(law.status == "not checked" for law in node.laws)
        found = failed or (f"{skipped} laws of large events not checked" if skipped else "")
        report.add(f"laws of node {step.node!r}", node.ok, found)


@torch.no_grad()
def _check_cones(flow: Flow, x: Tensor, context: Tensor | None, report: CheckReport) -> None:
    """Compare what changes with what cones say, at random places; and the cones of both directions."""
    wrong, z = 0, flow(x, context)[0]
    generated = flow.inverse(z, context)[0]
    places = [int(i) for i in torch.randperm(flow.plan.input.sites)[:PLACES_COMPARED]]
    for place in places:
        mask = torch.zeros(flow.plan.input.sites, dtype=torch.bool)
        mask[place] = True
        changed = x.flatten(2).clone()
        changed[..., place] += 0.3
        levels = flow(changed.view_as(x), context)[0]
        cone = flow.inference_cone(mask.view(flow.plan.input.shape)).levels
        wrong += sum(int(((a != b).any(1)[0] & ~sites).sum()) for a, b, sites in zip(levels, z, cone, strict=True))
    for h, level in enumerate(z):
        for place in [int(i) for i in torch.randperm(level[0, 0].numel())[:PLACES_COMPARED]]:
            changed = level.flatten(2).clone()
            changed[..., place] += 0.3
            moved = flow.inverse([*z[:h], changed.view_as(level), *z[h + 1 :]], context)[0]
            site = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), level.shape[2:]))
            pixels = flow.generation_cone(level=h, site=site).pixels
            wrong += int((((moved - generated) != 0).any(1)[0] & ~pixels).sum())
    report.add(
        "nothing changes beyond a cone", not wrong, f"{wrong} sites" if wrong else f"{len(places)} places a level"
    )
    law = "cones of both directions agree"
    if any(step.apply.passive for step in flow.plan.bijections):
        report.skip(law, "variables that a node keeps change others in one direction only")
    elif flow.plan.input.sites <= MAX_SITES:
        inference = torch.cat(list(all_inference_cones(flow.plan)))
        generation = torch.cat(list(all_generation_cones(flow.plan)))
        unequal = int((inference != generation.mT).sum())
        report.add(law, not unequal, f"{unequal} pairs" if unequal else "all sites")


@torch.no_grad()
def _check_samples(density: Density, report: CheckReport) -> None:
    """Compare the two ways to the log-density of samples, and the inverse, in the dtype of the flow."""
    context = _data(density.flow)[1]
    if context is not None and context.is_floating_point():
        context = context.to(density.dtype)
    x, log_q = density.rsample_and_log_prob(2, None if context is None else context.to(density.device))
    again = density.log_prob(x, None if context is None else context.to(density.device))
    tolerance = 1e3 * torch.finfo(density.dtype).eps
    scale = max(1.0, largest(log_q), density.plan.input.variables)
    report.bound(f"samples have the density of log_prob, {density.dtype}", largest(again - log_q) / scale, tolerance)
