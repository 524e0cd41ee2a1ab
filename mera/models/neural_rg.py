"""NeuralRG (Li & Wang 2018, arXiv 1802.02840)."""

from __future__ import annotations

from mera._utils.checks import check_count
from mera.flow import Flow
from mera.graph import Layout
from mera.models.options import Edges, Hidden, PerStep, context_shape, lattice_shape, levels
from mera.models.patches import BijectorLike, add_steps, bijectors_per_step
from mera.models.registry import register
from mera.priors import PriorLike

__all__ = ["neuralrg"]


@register("neuralrg")
def neuralrg(
    L: Edges = 16,
    channels: int = 1,
    *,
    repeats: int = 1,
    layers: PerStep = 2,
    residual_blocks: PerStep = 1,
    hidden: Hidden = (64,),
    conditioner: str = "joint",
    norm: bool | None = None,
    bijector: BijectorLike | None = None,
    context: Edges | None = None,
    classes: int | None = None,
    prior: PriorLike = "gaussian",
    boundary: str = "periodic",
    dim: int = 2,
) -> Flow:
    """NeuralRG (Li & Wang 2018, arXiv 1802.02840): a MERA of 2-wide blocks, for lattice models of physics.

    At scale n, on the sites whose coordinates 2^n divides: blocks at offset 0, then at offset 2^n, and both again for
    each repeat; then every second site goes on. For a density that knows of a global spin flip see `mera.Symmetrized`.

    Args:
        L: edge of the lattice, or all its edges: powers of two.
        channels: variables at a site.
        repeats: how often the pair of offsets comes at each scale.
        layers, residual_blocks, hidden, conditioner, norm, bijector, context, classes, prior, boundary, dim: as for
            `rgflow`.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
    """
    shape = lattice_shape(L, dim)
    bijectors = bijectors_per_step(
        levels(shape, 2), bijector=bijector, conditioner=conditioner, layers=layers, residual_blocks=residual_blocks,
        hidden=hidden, norm=norm,
    )  # fmt: skip
    layout = Layout(shape, channels, boundary, context_shape(context, classes, shape))
    pairs = [
        (f"{role}_{repeat}_", offset)
        for repeat in range(check_count(repeats, "repeats"))
        for role, offset in (("even", 0), ("odd", 1))
    ]
    add_steps(layout, bijectors, pairs, 2, 2)
    return Flow(layout, prior, classes=classes)
