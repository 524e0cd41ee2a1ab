"""The laws of bijectors and flows."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.analysis.laws.report import CheckReport
from mera.bijectors import Bijector, wrap
from mera.bijectors.base import context_arguments
from mera.bijectors.boxes import Box
from mera.bijectors.local import is_local, run_on_box
from mera.cones.cone import all_generation_cones, all_inference_cones
from mera.flow import Density, Flow
from mera.graph import Lattice
from mera.train.laws import (
    LAWS,
    MAX_JACOBIAN_SIZE,
    SPREAD,
    dead_parameters,
    double_copy,
    errors_of,
    jacobian_error,
    largest,
    round_trip_error,
    with_noise_on_parameters,
)

TOLERANCE = 1e-8
"""The largest error in double precision that rounding explains, for events of a few hundred variables."""
SINGLE = 1e-3
"""The largest error of a bijector that runs in single precision alone."""
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


def check_bijector(bijector: Bijector, report: CheckReport) -> None:
    """Check the laws of a bijector as it is, and with noise on its parameters."""
    if bijector.event_shape is None:
        raise InputError("a bijector with an event_shape", f"{type(bijector).__name__} with event_shape None")
    of_angles = any(getattr(part, "of_angles", False) for part in bijector.modules())
    x = events(3, bijector.event_shape, of_angles)
    context = None if bijector.context_shape is None else torch.randn(len(x), *bijector.context_shape).double()
    tolerance, version = TOLERANCE, double_copy(bijector)
    try:
        version(x, *context_arguments(version, context))
    except Exception:  # a constant in single precision, or an error that the laws will report
        tolerance, version, x = SINGLE, copy.deepcopy(bijector).cpu(), x.float()
        context = None if context is None else context.float()
    versions = {"": version}
    if any(parameter.requires_grad for parameter in bijector.parameters()):
        versions[", random parameters"] = with_noise_on_parameters(copy.deepcopy(version))
    for suffix, version in versions.items():
        try:
            errors = errors_of(version, x, context)
        except Exception as error:  # whatever the user's code raises
            report.add(f"forward and inverse run{suffix}", False, f"{type(error).__name__}: {error}"[:300])
            return
        for name, law in LAWS.items():
            if name in errors:
                report.bound(f"{law}{suffix}", errors[name], tolerance)
            else:
                report.skip(f"{law}{suffix}", f"more than {MAX_JACOBIAN_SIZE} variables")
        if suffix:
            y, log_det = version(x, *context_arguments(version, context))
            dead = dead_parameters(version, y.square().sum() + log_det.square().sum())
            report.add("a gradient for every parameter", not dead, ", ".join(dead)[:300])
    _check_geometry(version, x, context, report)
    _check_box(version, x, context, tolerance, report)


@torch.no_grad()
def _check_geometry(bijector: Bijector, x: Tensor, context: Tensor | None, report: CheckReport) -> None:
    """Check that passive channels stay as they are, and that nothing changes beyond a declared receptive kernel."""
    arguments = context_arguments(bijector, context)
    y = bijector(x, *arguments)[0]
    if bijector.passive:
        kept = torch.equal(y[:, : bijector.passive], x[:, : bijector.passive])
        report.add(f"the first {bijector.passive} channels stay as they are", kept)
    if bijector.receptive_kernel is None or x.ndim < 3:
        return
    moved = (bijector(_changed(x, 0), *arguments)[0] != y).any(1).any(0)
    beyond = 0
    for axis, (n, kernel) in enumerate(zip(x.shape[2:], bijector.receptive_kernel, strict=True)):
        sites = torch.arange(n)
        distance = torch.minimum(sites, n - sites) if bijector.circular else sites
        beyond += int(moved.index_select(axis, (distance > kernel // 2).nonzero()[:, 0]).sum())
    name = f"nothing changes beyond the kernel {bijector.receptive_kernel}"
    report.add(name, not beyond, f"{beyond} sites" if beyond else "")


@torch.no_grad()
def _check_box(bijector: Bijector, x: Tensor, context: Tensor | None, tolerance: float, report: CheckReport) -> None:
    """Check that a local field bijector has the same values on a box, and log-dets of sites that add up."""
    lattice = Lattice(x.shape[1], x.shape[2:], (bijector.circular,) * (x.ndim - 2))
    if not is_local(bijector, lattice):
        return
    y, log_det = bijector(x, *context_arguments(bijector, context))
    whole, target = Box.of((0, n) for n in lattice.shape), Box.of((n // 2, n // 2 + 1) for n in lattice.shape)
    box = target.grown([width // 2 for width in bijector.receptive_kernel or ()], lattice)
    context_of_box = context if context is None or context.ndim == 2 else box.take(context)
    try:
        _, by_site = run_on_box(bijector, lattice, x, whole, whole, context)
        values, _ = run_on_box(bijector, lattice, box.take(x), box, target, context_of_box)
    except InputError as error:
        report.add("a box has the values of the lattice", False, str(error)[:300])
        return
    report.bound("log-dets of sites add up", (by_site.flatten(1).sum(1) - log_det).abs().max().item(), tolerance)
    report.bound("a box has the values of the lattice", (values - target.take(y)).abs().max().item(), tolerance)


def events(n: int, shape: tuple[int, ...], of_angles: bool) -> Tensor:
    """Random events (n, *shape) in double precision, of real numbers or of angles."""
    x = 0.7 * torch.randn(n, *shape, dtype=torch.float64)
    return wrap(2 * x) if of_angles else x


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


def _data(flow: Flow) -> tuple[Tensor, Tensor | None]:
    """Two random events of a flow in double precision, and their contexts."""
    x = events(2, flow.plan.input.event_shape, flow.of_angles)
    if flow.plan.context is None or not flow.needs_context:
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


def _changed(x: Tensor, site: int) -> Tensor:
    """A copy of values (B, C, *shape) that are different at one site, counted row by row."""
    changed = x.flatten(2).clone()
    changed[..., site] += 0.3
    return changed.view_as(x)


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
    """Compare the variables that change with the cones of random sites, and the cones of both directions."""
    wrong, z = 0, flow(x, context)[0]
    generated = flow.inverse(z, context)[0]
    places = torch.randperm(flow.plan.input.sites)[:PLACES_COMPARED].tolist()
    for place in places:
        mask = torch.arange(flow.plan.input.sites) == place
        levels = flow(_changed(x, place), context)[0]
        cone = flow.inference_cone(mask.view(flow.plan.input.shape)).levels
        wrong += sum(int(((a != b).any(1)[0] & ~sites).sum()) for a, b, sites in zip(levels, z, cone, strict=True))
    for h, level in enumerate(z):
        for place in torch.randperm(level[0, 0].numel())[:PLACES_COMPARED].tolist():
            moved = flow.inverse([*z[:h], _changed(level, place), *z[h + 1 :]], context)[0]
            pixels = flow.generation_cone(level=h, site=np.unravel_index(place, level.shape[2:])).pixels
            wrong += int(((moved != generated).any(1)[0] & ~pixels).sum())
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
    if context is not None:
        context = context.to(density.device, density.dtype if context.is_floating_point() else context.dtype)
    x, log_q = density.rsample_and_log_prob(2, context)
    again = density.log_prob(x, context)
    tolerance = 1e3 * torch.finfo(density.dtype).eps
    scale = max(1.0, largest(log_q), density.plan.input.variables)
    report.bound(f"samples have the density of log_prob, {density.dtype}", largest(again - log_q) / scale, tolerance)
