"""Pictures of layouts from the side (paper, Fig. 2a)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mera.analysis.drawing.figures import Picture, View, box_handles, check_dimension, marker_handles
from mera.analysis.drawing.rows import Boxes, Variables, draw_side
from mera.graph import Layout, Plan, Step, compile

DISENTANGLER, DECIMATOR, FIELD, BLOCK_SPINS = "#7fbf7b", "#fddc5c", "#b3c7dd", "#d9c2e0"
"""Green and yellow are the colours of the paper, which has no field bijectors and no block spins."""
COLOURS = {"block spins": BLOCK_SPINS, "disentangler": DISENTANGLER, "decimator": DECIMATOR, "field": FIELD}
BORDER = "0.3"
DATA, LATENT = "tab:blue", "tab:red"
MAX_SITES = 32
"""The largest number of sites of an edge that a picture shows."""


def draw_layout(layout: Layout, dimension: int = -1, title: str = "") -> Picture:
    """Draw a layout as Fig. 2(a) of the paper: `draw_layout(layout).savefig("layout.png")`.

    Bijectors are boxes above the sites that they act on, data are dots at the bottom, latents are crosses where they
    leave. Of an edge longer than 32 sites, the picture shows the first 32, and says so.

    Args:
        layout: the layout, for example `flow.layout`.
        dimension: the dimension of the lattice that is drawn from left to right.
        title: the title of the picture; if empty, the lattice of the data.
    """
    plan = compile(layout)
    lattice = plan.input
    d = check_dimension(dimension, lattice)
    role = roles(plan)
    shown = set(role.values())
    legend = box_handles(((name, colour) for name, colour in COLOURS.items() if name in shown), BORDER)
    legend += marker_handles(DATA, LATENT)

    def colours(row: Boxes | Variables, indices: Sequence[int]) -> list[str]:
        if isinstance(row, Boxes):
            return [COLOURS[role[row.step]]] * len(indices)
        return [DATA if row.is_data else LATENT] * len(indices)

    view = View.around(0, lattice.shape[d], MAX_SITES)
    return draw_side(plan, d, view, colours, BORDER, legend, title or f"{lattice}, from the side")


def roles(plan: Plan) -> dict[Step, str]:
    """Classify each bijector of a plan as "disentangler", "decimator", "block spins" or "field".

    A field bijector acts on the whole lattice. A decimator is the last bijector on patches before variables are cut
    off, even if field bijectors follow it, or before all variables of a coarse lattice leave as latents. Block spins
    act on the cells of the decimation that follows, before larger patches. All other bijectors on patches are
    disentanglers. So the Haar transform of a wavelet flow is a decimator, and a brick wall has none.
    """
    next_step = {step.source: step for step in plan.steps}
    roles_by_step = {}
    for step in plan.bijections:
        following, cell, patches = next_step.get(step.targets[0]), (1,) * plan.input.dim, []
        while following is not None and len(following.targets) == 1:
            cell = tuple(c * n for c, n in zip(cell, following.operation.cell, strict=True))
            if following.module and not following.apply.is_field:
                patches.append(following.apply.kernel)
            following = next_step.get(following.targets[0])
        if step.apply.is_field:
            roles_by_step[step] = "field"
        elif patches:
            is_cell = step.apply.kernel == cell and not any(step.apply.offset)
            is_small = any(math.prod(kernel) > math.prod(cell) for kernel in patches)
            roles_by_step[step] = "block spins" if is_cell and is_small else "disentangler"
        else:
            cuts = step.apply.lattice != plan.input if following is None else True
            roles_by_step[step] = "decimator" if cuts else "disentangler"
    return roles_by_step
