"""Tree tensor networks and the ternary MERA: one site of a patch goes on."""

from __future__ import annotations

from mera._utils.checks import check_count
from mera.flow import Flow
from mera.graph import Layout
from mera.models.options import Edges, Hidden, PerStep, context_shape, lattice_shape, levels
from mera.models.patches import BijectorLike, add_steps, bijectors_per_step
from mera.models.registry import register
from mera.priors import PriorLike

__all__ = ["ternary", "tree"]


@register("tree")
def tree(
    L: Edges = 32,
    m: int = 2,
    channels: int = 3,
    *,
    layers: PerStep = 2,
    residual_blocks: PerStep = 1,
    hidden: Hidden = (128,),
    conditioner: str = "joint",
    norm: bool | None = None,
    bijector: BijectorLike | None = None,
    context: Edges | None = None,
    classes: int | None = None,
    prior: PriorLike = "laplace",
    boundary: str = "periodic",
    dim: int = 2,
) -> Flow:
    """A tree tensor network: decimators only, each of which sends one site of its m-wide patch on.

    Without disentanglers, neighbours on two sides of a patch's border meet only where their branches do.

    Args:
        L: edge of the lattice, or all its edges; each divides by m to a multiple of m, the smallest to m itself.
        m: kernel size and factor of decimation.
        channels, layers, residual_blocks, hidden, conditioner, norm, bijector, context, classes, prior, boundary, dim:
            as for `rgflow`.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
    """
    shape = lattice_shape(L, dim)
    bijectors = bijectors_per_step(
        levels(shape, check_count(m, "m", 2), m), bijector=bijector, conditioner=conditioner, layers=layers,
        residual_blocks=residual_blocks, hidden=hidden, norm=norm,
    )  # fmt: skip
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    add_steps(layout, bijectors, [("decimator", 0)], m, m)
    return Flow(layout, prior, classes=classes)


@register("ternary")
def ternary(
    L: Edges = 27,
    channels: int = 3,
    *,
    layers: PerStep = 2,
    residual_blocks: PerStep = 1,
    hidden: Hidden = (128,),
    conditioner: str = "joint",
    norm: bool | None = None,
    bijector: BijectorLike | None = None,
    context: Edges | None = None,
    classes: int | None = None,
    prior: PriorLike = "laplace",
    boundary: str = "periodic",
    dim: int = 2,
) -> Flow:
    """A ternary MERA (Evenbly & Vidal 2009): kernel 3, decimation by 3, disentanglers across the decimators' borders.

    Args:
        L: edge of the lattice, or all its edges: 3, 9, 27, ...
        channels, layers, residual_blocks, hidden, conditioner, norm, bijector, context, classes, prior, boundary, dim:
            as for `rgflow`.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
    """
    shape = lattice_shape(L, dim)
    bijectors = bijectors_per_step(
        levels(shape, 3, 3), bijector=bijector, conditioner=conditioner, layers=layers,
        residual_blocks=residual_blocks, hidden=hidden, norm=norm,
    )  # fmt: skip
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    add_steps(layout, bijectors, [("disentangler", 1), ("decimator", 0)], 3, 3)
    return Flow(layout, prior, classes=classes)
