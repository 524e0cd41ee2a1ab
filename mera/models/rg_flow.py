"""RG-Flow (Hu et al. 2020, https://arxiv.org/abs/2010.00029), the model of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from mera._utils.errors import InputError
from mera._utils.flow_options import PADDING
from mera._utils.options import Option, choice, count, flag
from mera.graph import Layout
from mera.models.by_name import register
from mera.models.field_models import add_field
from mera.models.lattices import kernels, lattice_shape
from mera.models.options import BlockSpinsFlag, Layers, PatchWidths, StepModel, Widths
from mera.models.patches import Patches

LAYERS = (8, 6, 4, 2)
"""The published numbers of coupling layers at L=32 (RG-Flow, App. A), finest level first."""


def authors(options: Mapping[str, Any]) -> dict[str, Any]:
    """The preset "authors": the published sizes, order and conditioner, with 100 million parameters at L=32, m=4.

    If there are more levels than published numbers of layers, the remaining levels have the last number.
    """
    shape = lattice_shape(options["L"], options["dim"])
    steps = len(kernels(shape, options["m"], StepModel.width, n_levels=options["levels"]))
    return {
        "block_spins": False,
        "order": "authors",
        "conditioner": "authors",
        "prior": "laplace",
        "layers": tuple(LAYERS[min(h, len(LAYERS) - 1)] for h in range(steps)),
        "residual_blocks": 4,
        "hidden": (512, 512),
    }


@register("rgflow")
@dataclass(frozen=True, kw_only=True)
class RGFlow(StepModel):
    r"""RG-Flow: a MERA of disentanglers and decimators on m-wide patches.

    Hu et al. (2020), Fig. 2 and Eq. 5, https://arxiv.org/abs/2010.00029. At level h, on the lattice of edge :math:`L /
    2^h`, a row of disentanglers and a row of decimators act; then, in two dimensions, three of four sites leave as
    latents. All sites of the topmost lattice leave. The preset "authors" has the published sizes, order and
    conditioner, 100 million parameters at L=32.
    """

    presets: ClassVar = {"authors": authors}

    m: PatchWidths = None
    layers: Layers = 2
    hidden: Widths = (96,)
    block_spins: BlockSpinsFlag = True
    order: Annotated[
        str,
        Option(
            'offsets of the blocks in a level. "paper": the disentangler at offset m/2, then the decimator at offset 0 '
            '(RG-Flow, Eq. 5). "authors": the first block at offset 0, the second at m/2, as in the authors\' code.',
            choice(["paper", "authors"], "an order"),
        ),
    ] = "paper"
    share_levels: Annotated[
        bool,
        Option(
            "one disentangler, one decimator and one bijector of details for all levels, which makes the flow "
            "scale-invariant: it can have more levels on a larger lattice. The last row of blocks in the coarsest "
            'level has a bijector of its own, "top", as in a scale-invariant MERA (https://arxiv.org/abs/1109.5334).',
            flag,
        ),
    ] = False
    shared_from: Annotated[
        int,
        Option(
            "the finest of the levels that share, with `share_levels`; finer ones have bijectors of their own. Options "
            "for each level are then those of each finer one, and one for the two or more that share.",
            count(0),
        ),
    ] = 0
    spectral: Annotated[
        bool,
        Option(
            "begin with a learnt scale of each Fourier mode, exact for a free field; cones are then all pixels.", flag
        ),
    ] = False
    learnt_noise: Annotated[
        Sequence[int] | None,
        Option(
            "channels of the hidden convolutions that give the noise of a pixel of 8 bits within its level a learnt "
            "distribution, from the levels around it and the noise of pixels before it (variational dequantisation), "
            "for photographs. None for uniform noise."
        ),
    ] = None

    def layout(self) -> Layout:
        """Declare the layout."""
        if self.shared_from and (self.shared_from >= (n := len(self.kernels)) - 1 or not self.share_levels):
            expected = f"shared_from with share_levels=True, at most {max(0, n - 2)} for {n} levels, so that two share"
            raise InputError(expected, f"shared_from={self.shared_from}, share_levels={self.share_levels}")
        patches = Patches(self, self.kernels, share=self.shared_from if self.share_levels else None)
        x = patches.layout.input
        if self.learnt_noise is not None:
            options = {"hidden": self.learnt_noise, "padding": PADDING[self.boundary]}
            x = add_field(patches.layout, x, "learnt-noise", "noise", options)  # first, since it acts on pixels
        if self.spectral:
            x = patches.layout.local(x, "spectral", field=True, name="spectral")
        first, second = (0.5, 0) if self.order == "paper" else (0, 0.5)
        return patches.renormalize([("disentangler", first), ("decimator", second)], x)
