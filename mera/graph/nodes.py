"""The kinds of node that a layout is made of.

The method `lower` compiles a node to a chain of operations on the lattice of its input; the outputs of the last
operation are the outputs of the node. Code that reads plans sees only operations, so that a new kind of node needs
nothing but a class in this file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from mera._utils.checks import check_flag, is_integer
from mera.bijectors.base import Bijector
from mera.bijectors.by_name import named
from mera.graph.lattice import Lattice, per_dimension
from mera.graph.layout_error import LayoutError, within
from mera.graph.modules import check_key
from mera.graph.operations import Apply, Cut, Operation, Regroup


class Node(ABC):
    """The base class of all kinds of node; an instance holds the settings of one node."""

    outputs: ClassVar[int] = 1
    """The number of outputs of a node of this kind."""

    @abstractmethod
    def lower(self, lattice: Lattice) -> tuple[Operation, ...]:
        """Compile the node, on the lattice of its input, to operations, each on the first output of the one before.

        Raises:
            LayoutError: if the node is not a bijection on this lattice.
        """


@dataclass(frozen=True)
class Input(Node):
    """The node where the data enters.

    Args:
        lattice: the lattice of the data.
        context: the shape of the context of a conditional flow, (K,) for K numbers per image or (K, *shape) for K
            numbers at each pixel; None if the flow is not conditional.
    """

    lattice: Lattice
    context: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        context = self.context
        if context is None:
            return
        is_shape = isinstance(context, tuple) and len(context) > 0 and all(is_integer(n) and n > 0 for n in context)
        if not is_shape or context[1:] not in ((), self.lattice.shape):
            sites = ", ".join(map(str, self.lattice.shape))
            expected = f"a context of shape (K,), or (K, {sites}) for each pixel"
            raise LayoutError(expected, repr(context), field="context")

    def lower(self, lattice: Lattice) -> tuple[Operation, ...]:
        """No operation."""
        return ()


@dataclass(frozen=True)
class Latent(Node):
    """A node where variables leave the flow as the latents of one level."""

    outputs: ClassVar[int] = 0

    def lower(self, lattice: Lattice) -> tuple[Operation, ...]:
        """No operation."""
        return ()


@dataclass(frozen=True)
class Local(Node):
    """A local bijector, the same at every position of a grid of `stride` sites.

    Args:
        bijector: a bijector; or a callable that makes one from an event shape, and from a `context_shape` if it has
            such a parameter; or the name of a registered bijector, see `mera.bijectors.names`, with or without options:
            "coupling", "coupling(layers=5)" or {"name": "coupling", "layers": 5}. Nodes and flows that are declared
            with the same bijector object share its parameters, as is usual for modules in torch; a callable or a name
            makes a new bijector for each flow.
        kernel: the number of sites that one position reads, one number for all dimensions or one for each; None for a
            field bijector that reads the whole lattice.
        stride: the number of sites between positions; if None the kernel: patches tile the lattice, and each patch is
            an event; or 1 for a field bijector. With a larger kernel than stride the bijector is a field bijector.
        offset: the site at which the grid of positions starts, 0 <= offset < stride. Patches continue around a
            periodic border. At open borders, incomplete patches are left unchanged.
        share: a key, other than the name of a node; nodes with the same key use one module. None for a module of the
            node's own.
        passive: the number of first channels that are read but not changed, as in the bijector's attribute `passive`.
        field: whether the bijector is a field bijector, such as a convolution, which reads `kernel` sites for each
            site, and the whole lattice is one event.

    Raises:
        LayoutError: if the name of the bijector, or an option of it, is unknown.
    """

    bijector: Any
    kernel: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None
    offset: int | tuple[int, ...] = 0
    share: str | None = None
    passive: int = 0
    field: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.bijector, (str, Mapping)):
            with within("setting 'bijector'"):
                object.__setattr__(self, "bijector", named(self.bijector))

    def lower(self, lattice: Lattice) -> tuple[Operation, ...]:
        """A single `Apply`."""
        if self.share is not None:
            check_key(self.share, "share")
        check_flag(self.field, "field")
        whole = tuple(2 * n - 1 for n in lattice.shape)  # a window that reaches all sites from any site
        read: Any = whole if self.field and self.kernel is None else self.kernel
        kernel = per_dimension(read, lattice.dim, "kernel", 1)
        tiling = 1 if self.field else kernel
        stride = per_dimension(tiling if self.stride is None else self.stride, lattice.dim, "stride", 1)
        offset = per_dimension(self.offset, lattice.dim, "offset", 0)
        if not is_integer(self.passive) or not 0 <= self.passive < lattice.channels:
            expected = f"from 0 to {lattice.channels - 1} of {lattice.channels} channels to be passive"
            raise LayoutError(expected, f"{self.passive!r}", field="passive")
        apply = Apply(lattice, kernel, stride, offset, int(self.passive), self.field or kernel != stride)
        for d in range(lattice.dim):
            _check_grid(apply, d)
        if isinstance(self.bijector, Bijector):
            check_bijector(self.bijector, apply)
        elif not callable(self.bijector) or isinstance(self.bijector, nn.Module):
            expected = "a bijector, or a callable that makes one from an event shape"
            raise LayoutError(expected, f"{self.bijector!r}", field="bijector")
        return (apply,)


@dataclass(frozen=True)
class Decimate(Node):
    """Keep the first site of each cell, and split off the others (RG-Flow, Eq. 5, https://arxiv.org/abs/2010.00029).

    The first output is the coarse lattice of the kept sites. The second output is the coarse lattice with the other
    sites of each cell as channels.

    Args:
        stride: the edge of a cell, or its edges in each dimension.
    """

    outputs: ClassVar[int] = 2
    stride: int | tuple[int, ...] = 2

    def lower(self, lattice: Lattice) -> tuple[Operation, ...]:
        """A `Regroup`, which puts the channels of a cell's first site first, then a `Cut` after these channels."""
        (squeeze,) = Squeeze(self.stride).lower(lattice)
        return squeeze, Cut(squeeze.outputs[0], lattice.channels)


@dataclass(frozen=True)
class Squeeze(Node):
    """Space to channels: each cell of sites becomes one site, which has the channels of all sites of the cell.

    Args:
        stride: the edge of a cell, or its edges in each dimension.
    """

    stride: int | tuple[int, ...] = 2

    def lower(self, lattice: Lattice) -> tuple[Operation, ...]:
        """A single `Regroup`."""
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
        keep: the number of first channels that go to the first output; the others go to the second output.
    """

    outputs: ClassVar[int] = 2
    keep: int

    def lower(self, lattice: Lattice) -> tuple[Operation, ...]:
        """A single `Cut`."""
        if not is_integer(self.keep) or not 0 < self.keep < lattice.channels:
            expected = f"to keep from 1 to {lattice.channels - 1} of {lattice.channels} channels"
            raise LayoutError(expected, f"{self.keep!r}", field="keep")
        return (Cut(lattice, int(self.keep)),)


KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in (Local, Decimate, Squeeze, Split, Latent)}
"""The names of the kinds of node in files."""


def _check_grid(operation: Apply, d: int) -> None:
    """Raise a LayoutError if the grid of an operation does not cover each site of dimension d exactly once."""
    n, kernel = operation.lattice.shape[d], operation.kernel[d]
    stride, offset = operation.stride[d], operation.offset[d]
    if operation.is_field and stride != 1:
        expected = "the stride of the kernel, for patches, or stride 1, for a field bijector"
        raise LayoutError(expected, f"kernel {kernel}, stride {stride}", field="stride")
    if n % stride:
        raise LayoutError(f"a kernel that divides the edge {n} of the lattice", f"{stride}", field="kernel")
    if offset >= stride:
        raise LayoutError(f"an offset below the stride {stride}", f"{offset}", field="offset")
    if kernel % 2 == 0 and operation.is_field:
        raise LayoutError("an odd kernel of a field bijector, as much on both sides", f"{kernel}", field="kernel")
    if offset and not operation.lattice.periodic[d] and n == stride:
        expected = f"room for a whole patch of {kernel} sites between open borders"
        raise LayoutError(expected, f"an edge of {n} sites and offset {offset}", field="offset")


def check_bijector(bijector: Bijector, operation: Apply) -> None:
    """Raise a LayoutError if a bijector does not fit the events of its node, or reads other sites than the kernel.

    A bijector whose `receptive_kernel` is None may depend on the whole event.

    Raises:
        LayoutError: if the event shape, the passive channels, the borders or the kernel differ.
    """
    shape = bijector.event_shape
    fits = bijector.fits(operation.event_shape) if operation.is_field else shape in (None, operation.event_shape)
    if not fits:
        raise LayoutError(f"a bijector with event shape {operation.event_shape}", f"{shape}")
    if bijector.passive != operation.passive:
        expected = f"passive={bijector.passive}, the channels that the bijector leaves"
        raise LayoutError(expected, f"{operation.passive}", field="passive")
    if not operation.is_field:
        return
    if bijector.circular and not all(operation.lattice.periodic):
        raise LayoutError("a bijector that ends at open borders", "one that continues at the opposite border")
    window = bijector.receptive_kernel
    if window is None:
        # between open borders, a kernel around the first site must be nearly twice as wide to reach the last one
        sizes = zip(operation.lattice.shape, operation.lattice.periodic, strict=True)
        least = tuple(n if periodic else 2 * n - 1 for n, periodic in sizes)
        if any(kernel < smallest for kernel, smallest in zip(operation.kernel, least, strict=True)):
            raise LayoutError(
                f"a kernel that reaches all of the lattice from everywhere, at least {least}, or a bijector "
                "whose receptive_kernel says how far it reads",
                f"kernel {operation.kernel}",
            )
        return
    if window != operation.kernel:
        raise LayoutError(f"kernel {window}, which the bijector reads", f"{operation.kernel}")
