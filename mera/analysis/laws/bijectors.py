"""The laws of bijectors."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.analysis.laws.report import CheckReport
from mera.bijectors.base import Bijector
from mera.bijectors.circular import wrap
from mera.bijectors.round_trip import (
    LAWS,
    MAX_JACOBIAN_SIZE,
    dead_parameters,
    double_copy,
    errors_of,
    with_noise_on_parameters,
)
from mera.graph import Lattice
from mera.graph.boxes import Box
from mera.graph.local_fields import is_local, run_on_box

TOLERANCE = 1e-8
"""The largest error in double precision that rounding explains, for events of a few hundred variables."""
SINGLE = 1e-3
"""The largest error of a bijector that runs in single precision alone."""


def check_bijector(bijector: Bijector, report: CheckReport) -> None:
    """Check the laws of a bijector as it is, and with noise on its parameters."""
    if bijector.event_shape is None:
        raise InputError("a bijector with an event_shape", f"{type(bijector).__name__} with event_shape None")
    of_angles = any(getattr(part, "of_angles", False) for part in bijector.modules())
    x = events(3, bijector.event_shape, of_angles)
    context = None if bijector.context_shape is None else torch.randn(len(x), *bijector.context_shape).double()
    tolerance, version = TOLERANCE, double_copy(bijector)
    if not runs(version, x, context):  # with constants of its own in single precision
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
            arguments = () if context is None else (context,)
            y, log_det = version(x, *arguments)
            dead = dead_parameters(version, y.square().sum() + log_det.square().sum())
            report.add("a gradient for every parameter", not dead, ", ".join(dead)[:300])
    _check_geometry(version, x, context, report)
    _check_box(version, x, context, tolerance, report)
    if x[0].numel() <= 2 and not of_angles and context is None:
        report.bound("a density integrates to 1", abs(_integral(version, x) - 1), 2e-2)


@torch.no_grad()
def _check_geometry(bijector: Bijector, x: Tensor, context: Tensor | None, report: CheckReport) -> None:
    """Check that passive channels stay as they are, and that nothing changes beyond a declared receptive kernel."""
    arguments = () if context is None else (context,)
    y = bijector(x, *arguments)[0]
    if bijector.passive:
        kept = torch.equal(y[:, : bijector.passive], x[:, : bijector.passive])
        report.add(f"the first {bijector.passive} channels stay as they are", kept)
    if bijector.receptive_kernel is None or x.ndim < 3:
        return
    changed = x.clone()
    changed.flatten(2)[:, :, 0] += 0.3  # a view
    moved = (bijector(changed, *arguments)[0] != y).any(1).any(0)
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
    try:
        _compare_box(bijector, lattice, x, context, tolerance, report)
    except InputError as error:
        report.add("a box has the values of the lattice", False, str(error)[:300])


def _compare_box(
    bijector: Bijector, lattice: Lattice, x: Tensor, context: Tensor | None, tolerance: float, report: CheckReport
) -> None:
    """Compare values and log-dets on a box with those of the whole lattice."""
    y, log_det = bijector(x, *(() if context is None else (context,)))
    whole, target = Box.of((0, n) for n in lattice.shape), Box.of((n // 2, n // 2 + 1) for n in lattice.shape)
    _, by_site = run_on_box(bijector, lattice, x, whole, whole, context)
    box = target.grown([width // 2 for width in bijector.receptive_kernel or ()], lattice)
    inside = context if context is None or context.ndim == 2 else box.take(context)
    values, _ = run_on_box(bijector, lattice, box.take(x), box, target, inside)
    report.bound("log-dets of sites add up", (by_site.flatten(1).sum(1) - log_det).abs().max().item(), tolerance)
    report.bound("a box has the values of the lattice", (values - target.take(y)).abs().max().item(), tolerance)


def runs(bijector: Bijector, x: Tensor, context: Tensor | None) -> bool:
    """Whether a bijector can be evaluated in the dtype of x."""
    try:
        bijector(x, *(() if context is None else (context,)))
    except Exception:  # whatever the user's code raises; the laws say it
        return False
    return True


def events(n: int, shape: tuple[int, ...], of_angles: bool) -> Tensor:
    """Random events (n, *shape) in double precision, of real numbers or of angles."""
    x = 0.7 * torch.randn(n, *shape, dtype=torch.float64)
    return wrap(2 * x) if of_angles else x


@torch.no_grad()
def _integral(bijector: Bijector, like: Tensor) -> float:
    """The integral of the density of events whose images are independent unit Gaussians, on a grid of sinh(t)."""
    t = torch.linspace(-5, 5, 400, dtype=torch.float64)
    n = like[0].numel()
    points = torch.cartesian_prod(*[t.sinh()] * n).view(-1, *like.shape[1:])
    slopes = torch.cartesian_prod(*[t.cosh()] * n).view(len(points), -1).prod(1)
    y, log_det = bijector(points.to(like))
    log_density = log_det - (y.square() / 2).flatten(1).sum(1) - n / 2 * math.log(2 * math.pi)
    return ((log_density.exp() * slopes).sum() * (t[1] - t[0]) ** n).item()
