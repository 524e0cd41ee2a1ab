"""A brick wall of blocks, without decimation."""

from __future__ import annotations

from mera._utils.checks import check_count
from mera.flow import Flow
from mera.graph import Layout
from mera.models.options import Edges, Hidden, PerStep, context_shape, lattice_shape
from mera.models.patches import BijectorLike, add_layers, bijectors_per_step
from mera.models.registry import register
from mera.models.rg_flow import kernel_size
from mera.priors import PriorLike

__all__ = ["tebd"]


@register("tebd")
def tebd(
    L: Edges = 32,
    m: int = 4,
    channels: int = 3,
    *,
    depth: int = 4,
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
    """A brick wall without decimation, as time-evolving block decimation has it (Vidal 2003): one level of latents.

    Rows of m-wide blocks at offset 0 and m/2 take turns. A site's cone grows by m a pair of rows, whatever the lattice.

    Args:
        L: edge of the lattice, or all its edges, multiples of m.
        m: kernel size, even.
        depth: pairs of rows.
        channels, layers, residual_blocks, hidden, conditioner, norm, bijector, context, classes, prior, boundary, dim:
            as for `rgflow`.

    `layers`, `residual_blocks` and `hidden` take one value for all pairs of rows or one for each.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
    """
    shape = lattice_shape(L, dim)
    bijectors = bijectors_per_step(
        check_count(depth, "depth"), bijector=bijector, conditioner=conditioner, layers=layers,
        residual_blocks=residual_blocks, hidden=hidden, norm=norm,
    )  # fmt: skip
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    x = layout.input
    for row, made_by in enumerate(bijectors):
        x = add_layers(layout, x, made_by, [("even", 0), ("odd", kernel_size(m) // 2)], m, str(row))
    layout.latent(x, name="z0")
    return Flow(layout, prior, classes=classes)
