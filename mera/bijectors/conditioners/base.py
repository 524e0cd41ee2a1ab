"""The contract of a conditioner: the network that a coupling asks for the parameters of its transform."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Shape = tuple[int, ...]

ConditionerFactory = Callable[[Shape, Shape, int], nn.Module]
"""Called with in_shape, out_shape and n_params; returns a `Conditioner`, or any module with the same forward."""


class Conditioner(nn.Module):
    """A network that reads one half of an event and returns the parameters of the transform of the other half.

    Its forward maps (B, *in_shape) to (B, n_params, *out_shape). If the network is `shared_between_halves`, its forward
    takes a second argument, 0 or 1: the half that it reads.

    A module of another class may serve as a conditioner too. Its attributes are then taken to be those of this class.
    """

    radius: int | None = None
    """For a convolution: how many sites to each side an output depends on. None if it depends on the whole half."""
    circular: bool = False
    """Whether the sites beyond a border are those at the opposite border."""
    shared_between_halves: bool = False
    """Whether a coupling has one network for both halves, in place of one for each."""


def contract(network: nn.Module) -> Conditioner | type[Conditioner]:
    """The object whose attributes describe a network: the network itself, or the defaults of `Conditioner`.

    Args:
        network: a conditioner, or a module of another class that serves as one.
    """
    return network if isinstance(network, Conditioner) else Conditioner
