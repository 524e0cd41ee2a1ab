"""Modules of torch: the dictionary of the bijectors of a flow, the names of its keys, and the structure of a module."""

from __future__ import annotations

from typing import Any

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


def structure_of(module: nn.Module) -> list[tuple[str, str, dict[str, Any]]]:
    """The structure of a module: the class, the tensors' shapes, and the plain attributes of each of its modules.

    Two modules of one structure compute the same function of the values in their state dicts, but for attributes that
    are neither numbers nor text. Attributes of a user's class may be counters or flags, and are left out.
    """
    structure = []
    for part in module.modules():
        shapes = [tuple(t.shape) for t in (*part.parameters(recurse=False), *part.buffers(recurse=False))]
        name = f"{type(part).__module__}.{type(part).__qualname__}"
        public = {key: v for key, v in vars(part).items() if key != "training" and not key.startswith("_")}
        plain = {key: v for key, v in public.items() if isinstance(v, (bool, int, float, str, tuple))}
        structure.append((name, str(shapes), plain if name.startswith("mera.") else {}))
    return structure
