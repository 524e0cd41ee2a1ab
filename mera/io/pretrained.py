"""Loading the trained flows that come with the package."""

from __future__ import annotations

from mera.flow import Flow
from mera.io.flows import load
from mera.models.pretrained import card

__all__ = ["load_pretrained"]


def load_pretrained(name: str) -> Flow:
    """A trained flow that comes with the package, on the CPU.

    Args:
        name: one of the names in `mera.models.pretrained()`, which says what each of them learnt.

    Raises:
        ValueError: if there is no such flow.

    >>> import mera
    >>> flow = mera.load_pretrained("msds1")
    >>> flow.to_images(flow.sample(2, temperature=0.6)).shape
    torch.Size([2, 3, 32, 32])
    """
    return load(card(name).weights)
