"""Construction of layouts of bijectors on whole lattices, for Real NVP, Glow, Wavelet Flow and details."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from mera._utils.flow_options import PADDING
from mera.bijectors import Bijector, named
from mera.bijectors.by_name import Named
from mera.flow.flow import Flow
from mera.graph import Layout, Port
from mera.graph.layout_error import within
from mera.graph.plan import context_of
from mera.models.geometry import lattice_shape, levels, options_per_step
from mera.models.options import FieldModel


class Fields:
    """A builder of layouts of bijectors on whole lattices, with `layout` and the number of `scales` as attributes.

    Args:
        model: the options of the model.
        squeezed_first: whether each scale begins with a squeeze, so that there is one scale fewer.
        common: further options of the bijectors at all scales.

    Raises:
        ValueError: if the value of an option is invalid.
    """

    def __init__(self, model: FieldModel, squeezed_first: bool = False, **common: Any) -> None:
        self.model = model
        shape = lattice_shape(model.L, model.dim)
        wanted = None if model.levels is None else model.levels + squeezed_first
        self.scales = max(1, levels(shape, model.m, wanted=wanted) - squeezed_first)
        self._common = {"padding": PADDING[model.boundary], "transform": model.transform, **common}
        self._per_scale = options_per_step(self.scales, model.layers, model.residual_blocks, model.hidden)
        self.layout = Layout(shape, model.channels, model.boundary, model.context_shape)

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """For each scale, finest first, its index and the options of its bijectors."""
        return ((scale, self._common | options) for scale, options in enumerate(self._per_scale))

    def add(self, x: Port, bijector: str, name: str, options: dict[str, Any], passive: int = 0) -> Port:
        """Add a node for a registered bijector, and return the output; see `add_field`."""
        return add_field(self.layout, x, named(bijector, options), name, passive)

    def split(self, x: Port, keep: int, scale: int) -> Port:
        """Let all but the first `keep` channels leave as the latents of a scale, and return the kept channels."""
        x, fine = self.layout.split(x, keep=keep, name=f"split{scale}")
        self.layout.latent(fine, name=f"z{scale}")
        return x

    def flow(self, x: Port) -> Flow:
        """Let all channels of the last output leave as the latents of the last scale, and make the flow."""
        self.layout.latent(x, name=f"z{self.scales - 1}")
        return Flow(self.layout, self.model.prior, classes=self.model.classes)


def add_field(layout: Layout, x: Port, make: Named, name: str, passive: int = 0) -> Port:
    """Add a node for a registered bijector, whose `receptive_kernel` is the node's kernel, and return the output.

    Args:
        layout: the layout.
        x: output of an earlier node.
        make: a bijector, by name, whose `receptive_kernel` is not None.
        name: name of the node.
        passive: number of leading channels that are read but not changed.

    Raises:
        LayoutError: if the bijector cannot be made for this lattice; the message names the node.
    """
    shape = x.lattice.event_shape
    with within(f"node {name!r}"):  # a temporary instance, because only the bijector itself knows its kernel
        instance: Bijector = make(shape, context_of(layout.context, shape))
    kernel = cast(tuple, instance.receptive_kernel)
    return layout.local(x, make, kernel=kernel, stride=1, name=name, passive=passive)
