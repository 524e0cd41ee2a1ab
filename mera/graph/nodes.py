"""The kinds of node that a layout is made of, each of which knows its geometry and what it refuses.

A node turns the lattice on its input edge into a chain of actions (`lower`); its outputs are those of the last
action. A new kind of node is one more class in this file; whatever reads plans sees only its actions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from mera._utils.checks import is_integer
from mera.bijectors.base import Bijector
from mera.bijectors.registry import named
from mera.graph.actions import Action, Apply, Cut, Regroup
from mera.graph.errors import LayoutError
from mera.graph.lattice import Lattice, check_key, per_dimension
from mera.graph.validation import check_bijector, check_grid

__all__ = ["Decimate", "Input", "Latent", "Local", "Node", "Split", "Squeeze"]


class Node(ABC):
    """The base of all kinds of node; an instance holds the settings of one node."""

    outputs: ClassVar[int] = 1
    """How many output edges a node of this kind has."""

    @abstractmethod
    def lower(self, lattice: Lattice) -> tuple[Action, ...]:
        """The actions that this node performs on `lattice`, each on the first output of the one before.

        Raises:
            LayoutError: if they would not be a bijection.
        """


@dataclass(frozen=True)
class Input(Node):
    """The node where the data enters.

    Args:
        lattice: the lattice of the data.
        context: the shape of a context, (K,) for K numbers of each image or (K, *shape) for K numbers of each pixel;
            None if there is none.

    Raises:
        LayoutError: if `lattice` is no lattice, or `context` is no such shape.
    """

    lattice: Lattice
    context: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.lattice, Lattice):
            raise LayoutError("a Lattice", f"{self.lattice!r}")
        context = self.context
        if context is None:
            return
        numbers = isinstance(context, tuple) and len(context) > 0 and all(is_integer(n) and n > 0 for n in context)
        if not numbers or context[1:] not in ((), self.lattice.shape):
            sites = ", ".join(map(str, self.lattice.shape))
            expected = f"a context of shape (K,), or (K, {sites}) for each pixel"
            raise LayoutError(expected, repr(context), field="context")

    def lower(self, lattice: Lattice) -> tuple[Action, ...]:
        """Nothing is done to the data."""
        return ()


@dataclass(frozen=True)
class Latent(Node):
    """A node where variables leave the flow as the latents of one level."""

    outputs: ClassVar[int] = 0

    def lower(self, lattice: Lattice) -> tuple[Action, ...]:
        """Nothing is done to the latents."""
        return ()


@dataclass(frozen=True)
class Local(Node):
    """A local bijector, the same at every position of a grid of `stride` sites.

    Args:
        bijector: a bijector; or a callable that makes one from an event shape, and from a `context_shape` if it has
            such a parameter; or the name of a registered bijector; or {"name": ..., **options} for a registered one
            with options, see `mera.bijectors.names`. Nodes and flows that are handed the same bijector share it, as
            everywhere in torch; a callable or a name makes a new bijector for each flow.
        kernel: how many sites one position reads in each dimension, or one number for all dimensions.
        stride: how many sites lie between positions. If equal to the kernel, which is the default, the lattice is tiled
            with patches, and each patch is an event. If less than the kernel, the bijector is a field bijector, which
            takes the whole lattice as one event.
        offset: the site at which the grid starts, 0 <= offset < stride. Patches wrap around a periodic border. At an
            open border, patches that the border would cut are left out, and the sites in them pass unchanged.
        share: nodes with the same key use one module. The key may not be the name of a node.
        passive: how many channels, the first ones, are read but left as they are; as many as the bijector's own
            `passive`.

    Raises:
        LayoutError: if there is no bijector of that name, or it has no such option.
    """

    bijector: Any
    kernel: int | tuple[int, ...]
    stride: int | tuple[int, ...] | None = None
    offset: int | tuple[int, ...] = 0
    share: str | None = None
    passive: int = 0

    def __post_init__(self) -> None:
        try:
            match self.bijector:
                case str():
                    object.__setattr__(self, "bijector", named(self.bijector))
                case Mapping():
                    options = dict(self.bijector)
                    object.__setattr__(self, "bijector", named(options.pop("name", None), options))
        except ValueError as error:
            raise LayoutError.from_error(error, field="bijector") from None

    def lower(self, lattice: Lattice) -> tuple[Action, ...]:
        """One `Apply`."""
        if self.share is not None:
            check_key(self.share, "share")
        kernel = per_dimension(self.kernel, lattice.dim, "kernel", 1)
        stride = per_dimension(kernel if self.stride is None else self.stride, lattice.dim, "stride", 1)
        offset = per_dimension(self.offset, lattice.dim, "offset", 0)
        if not is_integer(self.passive) or not 0 <= self.passive < lattice.channels:
            raise LayoutError(
                f"from 0 to {lattice.channels - 1} of {lattice.channels} channels to be passive",
                f"{self.passive!r}",
                field="passive",
            )
        apply = Apply(lattice, kernel, stride, offset, int(self.passive))
        for d, n in enumerate(lattice.shape):
            check_grid(n, kernel[d], stride[d], offset[d], lattice.periodic[d], apply.is_field)
        if isinstance(self.bijector, Bijector):
            check_bijector(self.bijector, apply)
        elif not callable(self.bijector) or isinstance(self.bijector, nn.Module):
            raise LayoutError(
                "a bijector, or a callable that makes one from an event shape", f"{self.bijector!r}", field="bijector"
            )
        return (apply,)


@dataclass(frozen=True)
class Decimate(Node):
    """Keep every `stride`-th site in each dimension; the other sites go out (paper, Eq. 5).

    The sites of a cell that go out become channels of one site.

    Args:
        stride: the edge of a cell, or its edges in each dimension.
    """

    outputs: ClassVar[int] = 2
    stride: int | tuple[int, ...] = 2

    def lower(self, lattice: Lattice) -> tuple[Action, ...]:
        """Squeeze, which puts a cell's first site first, then cut behind that site's channels."""
        (squeeze,) = Squeeze(self.stride).lower(lattice)
        return squeeze, Cut(squeeze.outputs[0], lattice.channels)


@dataclass(frozen=True)
class Squeeze(Node):
    """Space to channels: each cell of sites becomes one site that holds the channels of all of them.

    Args:
        stride: the edge of a cell, or its edges in each dimension.
    """

    stride: int | tuple[int, ...] = 2

    def lower(self, lattice: Lattice) -> tuple[Action, ...]:
        """One `Regroup`."""
        stride = per_dimension(self.stride, lattice.dim, "stride", 1)
        if max(stride) == 1:
            expected = "a stride above 1 in some dimension"
            raise LayoutError(expected, "1, which leaves the lattice as it is", field="stride")
        for n, s in zip(lattice.shape, stride, strict=True):
            if n % s:
                raise LayoutError(f"an edge that the stride {s} divides", f"a lattice of edge {n}", field="stride")
        return (Regroup(lattice, stride),)


@dataclass(frozen=True)
class Split(Node):
    """Cut the channels in two.

    Args:
        keep: how many channels, the first ones, go to the first output; the rest go to the second.
    """

    outputs: ClassVar[int] = 2
    keep: int

    def lower(self, lattice: Lattice) -> tuple[Action, ...]:
        """One `Cut`."""
        if not is_integer(self.keep) or not 0 < self.keep < lattice.channels:
            raise LayoutError(
                f"to keep from 1 to {lattice.channels - 1} of {lattice.channels} channels",
                f"{self.keep!r}",
                field="keep",
            )
        return (Cut(lattice, int(self.keep)),)
