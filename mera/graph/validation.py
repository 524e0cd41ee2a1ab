"""Whether a grid covers a lattice, and whether a bijector is one for the events of a node."""

from __future__ import annotations

from mera.bijectors.base import Bijector
from mera.graph.actions import Apply
from mera.graph.errors import LayoutError

__all__ = ["check_bijector", "check_grid"]


def check_grid(n: int, kernel: int, stride: int, offset: int, periodic: bool, is_field: bool) -> None:
    """Refuse a kernel, stride and offset with which an edge of `n` sites is not covered once.

    Raises:
        LayoutError: if it is not.
    """
    if stride > kernel:
        raise LayoutError(f"a stride up to the kernel {kernel}", f"{stride}, which skips sites", field="stride")
    if n % stride:
        what = "stride" if is_field else "kernel"
        raise LayoutError(f"a {what} that divides the edge {n} of the lattice", f"{stride}", field=what)
    if offset >= stride:
        raise LayoutError(f"an offset below the stride {stride}", f"{offset}", field="offset")
    if (kernel - stride) % 2:
        raise LayoutError(
            "kernel - stride to be even, as much on both sides", f"kernel {kernel}, stride {stride}", field="kernel"
        )
    if offset and not periodic:
        if is_field:
            raise LayoutError("offset 0 for a field bijector between open borders", f"{offset}", field="offset")
        if n == stride:
            raise LayoutError(
                f"room for a whole patch of {kernel} sites between open borders",
                f"an edge of {n} sites and offset {offset}",
                field="offset",
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
        raise LayoutError(f"a bijector with event shape {action.event_shape}", f"{tuple(shape)}")
    if bijector.passive != action.passive:
        raise LayoutError(
            f"passive={bijector.passive}, the channels that the bijector leaves", f"{action.passive}", field="passive"
        )
    if not action.is_field:
        return
    if bijector.circular and not all(action.lattice.periodic):
        raise LayoutError("a bijector that ends at open borders", "one that reads around them")
    window = bijector.receptive_kernel
    if window is None:
        # between open borders, a window around the first cell ends at the last site only if it is twice as wide
        sizes = zip(action.lattice.shape, action.stride, action.lattice.periodic, strict=True)
        wide = tuple(n if wraps else 2 * n - s for n, s, wraps in sizes)
        if any(kernel < needed for kernel, needed in zip(action.kernel, wide, strict=True)):
            raise LayoutError(
                f"a kernel that reaches all of the lattice from everywhere, at least {wide}, or a bijector "
                "whose receptive_kernel says how far it reads",
                f"kernel {action.kernel}",
            )
        return
    kernel = tuple(w - 1 + s for w, s in zip(window, action.stride, strict=True))
    if kernel != action.kernel:
        raise LayoutError(f"kernel {kernel}, which the bijector reads at stride {action.stride}", f"{action.kernel}")
