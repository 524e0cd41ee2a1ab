"""Checks of nodes: that a grid covers the lattice, and that a bijector fits the events of its node."""

from __future__ import annotations

from mera.bijectors.base import Bijector
from mera.graph.layout_error import LayoutError
from mera.graph.operations import Apply


def check_grid(n: int, kernel: int, stride: int, offset: int, periodic: bool, is_field: bool) -> None:
    """Raise a LayoutError if a grid does not cover each site of an edge exactly once.

    Args:
        n: the number of sites along the edge.
        kernel: the number of sites that one position reads.
        stride: the number of sites between positions.
        offset: the site at which the grid starts.
        periodic: whether the last site of the edge is a neighbour of the first.
        is_field: whether kernel and stride differ in some dimension.
    """
    if is_field and stride != 1:
        expected = "the stride of the kernel, for patches, or stride 1, for a field bijector"
        raise LayoutError(expected, f"kernel {kernel}, stride {stride}", field="stride")
    if n % stride:
        raise LayoutError(f"a kernel that divides the edge {n} of the lattice", f"{stride}", field="kernel")
    if offset >= stride:
        raise LayoutError(f"an offset below the stride {stride}", f"{offset}", field="offset")
    if kernel % 2 == 0 and is_field:
        raise LayoutError("an odd kernel of a field bijector, as much on both sides", f"{kernel}", field="kernel")
    if offset and not periodic and n == stride:
        expected = f"room for a whole patch of {kernel} sites between open borders"
        raise LayoutError(expected, f"an edge of {n} sites and offset {offset}", field="offset")


def check_bijector(bijector: Bijector, operation: Apply) -> None:
    """Check that a bijector fits the events of its node, and reads exactly the sites of the node's kernel.

    A bijector whose `receptive_kernel` is None may depend on the whole event.

    Args:
        bijector: the bijector.
        operation: the operation of the node.

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
