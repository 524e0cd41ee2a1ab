"""Whether a grid covers a lattice, and whether a bijector is one for the events of a node."""

from __future__ import annotations

from mera.bijectors.base import Bijector
from mera.graph.actions import Apply
from mera.graph.lattice import LayoutError

__all__ = ["check_bijector", "check_grid"]


def check_grid(n: int, kernel: int, stride: int, offset: int, periodic: bool, is_field: bool) -> None:
    """Refuse a kernel, stride and offset with which an edge of `n` sites is not covered once.

    Raises:
        LayoutError: if it is not.
    """
    if stride > kernel:
        raise LayoutError(f"Expected a stride up to the kernel {kernel}; got {stride}, which skips sites", "stride")
    if n % stride:
        what = "stride" if is_field else "kernel"
        raise LayoutError(f"Expected a {what} that divides the edge {n} of the lattice; got {stride}", what)
    if offset >= stride:
        raise LayoutError(f"Expected an offset below the stride {stride}; got {offset}", "offset")
    if (kernel - stride) % 2:
        raise LayoutError(
            f"Expected kernel - stride to be even, as much on both sides; got kernel {kernel}, stride {stride}",
            "kernel",
        )
    if offset and not periodic:
        if is_field:
            raise LayoutError(f"Expected offset 0 for a field bijector between open borders; got {offset}", "offset")
        if n == stride:
            raise LayoutError(
                f"Expected room for a whole patch of {kernel} sites between open borders; "
                f"got an edge of {n} sites and offset {offset}",
                "offset",
            )


def check_bijector(bijector: Bijector, action: Apply) -> None:
    """Refuse a bijector that was made for other events, or does not read the sites that its node says.

    A grid position of a field holds `stride` sites, each of which reads a window as wide as the bijector's
    `receptive_kernel`; the node's kernel is what they read together. A bijector where that is None reads all of its
    event.

    Raises:
        LayoutError: on any mismatch.
    """
    shape = bijector.event_shape
    if shape is not None and tuple(shape) != action.event_shape:
        raise LayoutError(f"Expected a bijector with event shape {action.event_shape}; got {tuple(shape)}")
    if bijector.passive != action.passive:
        raise LayoutError(
            f"Expected passive={bijector.passive}, the channels that the bijector leaves; got {action.passive}",
            "passive",
        )
    if not action.is_field:
        return
    if bijector.circular and not all(action.lattice.periodic):
        raise LayoutError("Expected a bijector that ends at open borders; got one that reads around them")
    window = bijector.receptive_kernel
    if window is None:
        # between open borders, a window around the first cell ends at the last site only if it is twice as wide
        sizes = zip(action.lattice.shape, action.stride, action.lattice.periodic, strict=True)
        wide = tuple(n if wraps else 2 * n - s for n, s, wraps in sizes)
        if any(kernel < needed for kernel, needed in zip(action.kernel, wide, strict=True)):
            raise LayoutError(
                f"Expected a kernel that reaches all of the lattice from everywhere, at least {wide}, or a bijector "
                f"whose receptive_kernel says how far it reads; got kernel {action.kernel}"
            )
        return
    kernel = tuple(w - 1 + s for w, s in zip(window, action.stride, strict=True))
    if kernel != action.kernel:
        raise LayoutError(
            f"Expected kernel {kernel}, which the bijector reads at stride {action.stride}; got {action.kernel}"
        )
