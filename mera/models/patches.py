"""Construction of layouts of bijectors on patches, shared by RG-Flow, NeuralRG, trees, brick walls, branching MERAs.

A level of such a model consists of rows of bijectors, in the order from data to latents. A row is a pair: a role, which
begins the names of nodes, and the offset of the patches as a fraction of their width, such as 0 or 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera._utils.flow_options import PADDING
from mera.bijectors import named
from mera.bijectors.by_name import takes
from mera.bijectors.prior import Prior
from mera.graph import Layout, Port
from mera.models.field_models import add_field
from mera.models.lattices import Kernel, offset_of
from mera.models.options import PatchModel, hidden_per_level, integers_per_level, options_per_level

Rows = Iterable[tuple[str, float]]
FOR_ALL = ("conditioner", "norm", "mix_channels", "transform")


class Patches:
    """A builder of layouts of patches.

    Args:
        model: the options of the model; a `StepModel` if steps decimate the lattice.
        kernels: the patches of each level, finest first.
        share: the first of the levels that use the same modules; None if each level has its own.

    Attributes:
        layout: the layout.
        bijectors: for each level, finest first, a callable that makes its bijectors.
    """

    def __init__(self, model: PatchModel, kernels: Sequence[Kernel], *, share: int | None = None) -> None:
        self.model, self.kernels, self.share = model, kernels, share
        self.stride: int = getattr(model, "stride", 2)  # the edge of the cells of a decimation (RG-Flow, Eq. 5)
        steps = len(kernels)
        rows = steps if share is None else min(steps, share + 1)  # the last one serves all levels that share
        learnt = getattr(model, "learnt_prior", None)
        values: Sequence[list[Any]] = (
            bijectors_per_step(rows, model),
            integers_per_level(getattr(model, "details", 0), rows, "details", least=0),
            hidden_per_level(getattr(model, "details_hidden", (1,)), rows, "details_hidden"),
            [None] * rows if learnt is None else hidden_per_level(learnt, rows, "learnt_prior"),
        )
        values = [row + row[-1:] * (steps - rows) for row in values]
        self.bijectors, self.details, self.details_hidden, self.learnt_prior = values
        if any(self.details) or learnt is not None:
            check_choice(model.boundary, PADDING, "a boundary of a flow with details or a learnt prior")
        self.layout = Layout(model.shape, model.channels, model.boundary, model.context_shape)
        prior = model.prior if isinstance(model.prior, Prior) else Prior(model.prior)
        self.block_spins = getattr(model, "block_spins", False) and not prior.of_angles  # which have no mean

    def add_rows(self, x: Port, step: int, rows: Rows, suffix: str) -> Port:
        """Add the rows of bijectors of one level, and return the output of the last node.

        The name of a node is role + suffix. A row with an offset is left out where no patch fits at one, see
        `offset_of`. With the option `block_spins`, a row of `BlockSpins` comes before the rows; or before the first row
        at offset 0 if patches of an earlier row would cut cells, so that no causal cone grows. The last step has none,
        as no further step would couple the means, unless all levels share one. If levels share, the last row of the
        last step is the bijector "top", as all of its outputs are latents.
        """
        kernel = self.kernels[step]
        offsets = [(role, offset_of(x.lattice, kernel, part)) for role, part in rows]
        shifts = [(role, offset) for role, offset in offsets if offset is not None]
        is_top = step == len(self.bijectors) - 1
        place = None
        if self.block_spins and (not is_top or self._shared(step, "block_spins")):
            at_zero = next((i for i, (_, offset) in enumerate(shifts) if not any(offset)), 0)
            place = at_zero if any(n % self.stride for _, offset in shifts[:at_zero] for n in offset) else 0
        for index, (role, offset) in enumerate(shifts):
            if index == place:
                share = self._shared(step, "block_spins")
                x = self.layout.local(x, "block-spins", self.stride, share=share, name=f"block_spins{suffix}")
            name = "top" if is_top and index == len(shifts) - 1 else role
            share = self._shared(step, name)
            x = self.layout.local(x, self.bijectors[step], kernel, offset=offset, share=share, name=f"{role}{suffix}")
        return x

    def _shared(self, step: int, name: str) -> str | None:
        """The name of a bijector that levels share, for a level that does; else None."""
        return name if self.share is not None and step >= self.share else None

    def decimate(self, x: Port, step: int, suffix: str) -> tuple[Port, Port]:
        """Keep one site of each cell, and return the port of the kept sites and that of all others, as channels.

        With the option `details`, convolutions first transform the other sites, given the kept sites (as in Wavelet
        Flow, Yu et al. 2020). With `learnt_prior` they leave with a mean and a scale that convolutions read from the
        kept sites (as in Glow, Kingma and Dhariwal 2018).
        """
        details, widths = self.details[step], self.learnt_prior[step]
        if not details and widths is None:
            return self.layout.decimate(x, self.stride, name=f"decimate{suffix}")
        kept = x.channels
        x = self.layout.squeeze(x, self.stride, name=f"squeeze{suffix}")
        if details:
            norm = self.model.conditioner == "joint" if self.model.norm is None else self.model.norm
            options = {"layers": details, "hidden": self.details_hidden[step], "norm": norm}
            x = self._given(x, kept, step, "details", "details", suffix, **options)
        if widths is not None:
            x = self._given(x, kept, step, "split-prior", "prior", suffix, hidden=widths, residual_blocks=1)
        return self.layout.split(x, keep=kept, name=f"decimate{suffix}")

    def _given(self, x: Port, kept: int, step: int, bijector: str, role: str, suffix: str, **options: Any) -> Port:
        """Add a bijector of whole lattices that transforms all channels but the first, given these."""
        options |= {"passive": kept, "padding": PADDING[self.model.boundary]}
        return add_field(self.layout, x, bijector, f"{role}{suffix}", options, kept, self._shared(step, role))

    def renormalize(self, rows: Rows, x: Port | None = None) -> Layout:
        """Add all levels, with a decimation after each level but the last; return the layout (RG-Flow, Eq. 2 to 5).

        All variables leave as latents after the last step. The first step reads `x`, the input of the layout if None.
        """
        x, rows, last = self.layout.input if x is None else x, tuple(rows), len(self.bijectors) - 1
        for step in range(last + 1):
            x = self.add_rows(x, step, rows, str(step))
            if step < last:
                x, fine = self.decimate(x, step, str(step))
                self.layout.latent(fine, name=f"z{step}")
        self.layout.latent(x, name=f"z{last}")
        return self.layout


def bijectors_per_step(steps: int, model: PatchModel) -> list[Callable[..., Any]]:
    """For each level, finest first, a callable that makes its bijectors, from the options of a model of patches.

    A registered bijector gets each of the options `conditioner`, `layers`, `residual_blocks`, `hidden`, `norm`,
    `mix_channels` and `transform` that is a parameter of it; options of the bijector itself take precedence.
    """
    bijector = "coupling" if model.bijector is None else model.bijector
    for_all_steps = {name: getattr(model, name) for name in FOR_ALL if getattr(model, name) is not None}
    per_level = options_per_level(steps, model.layers, model.residual_blocks, model.hidden)
    if isinstance(bijector, (str, Mapping)):
        own = named(bijector)
        options = [{key: v for key, v in (for_all_steps | step).items() if takes(own.name, key)} for step in per_level]
        return [named(own.name, {**option, **own.options}) for option in options]
    if not callable(bijector):
        raise InputError("a bijector's name, a name with options, or a callable that makes a bijector", repr(bijector))
    return [bijector] * steps
