"""The dictionary of a flow's bijectors, and the names that it accepts as keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mera.graph.layout_error import LayoutError


class Bijectors(nn.ModuleDict):
    """The bijectors of a flow, by the key in `Step.module`; flows on several lattices may share them.

    Its buffer `_reference` is a tensor with the dtype and device of the bijectors, which `to` changes.
    """

    _reference: Tensor

    def __init__(self, like: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("_reference", torch.empty(0) if like is None else like.new_empty(0), persistent=False)


_EMPTY = Bijectors()


def check_key(text: object, field: str) -> None:
    """Raise a LayoutError if a value for the setting `field` is not a valid name of a node or key of a module."""
    if not isinstance(text, str) or not text or "." in text or hasattr(_EMPTY, text):
        expected = f"a {field} that is not empty, has no dot and is not an attribute of torch.nn.ModuleDict"
        raise LayoutError(expected, repr(text), field=field)
