"""Whether the weights of modules have changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn


def versions(tensors: Iterable[Tensor]) -> list[tuple[int, int]]:
    """Numbers that change when values of tensors change in place, or when the tensors get other memory."""
    return [(tensor.data_ptr(), tensor._version) for tensor in tensors]


class Unchanged:
    """Remember the parameters, the buffers and the modes of modules, to refuse to go on with others.

    Little is compared: the versions of tensors, which change with their values; the memory of the first tensor of each
    module, which changes with dtype and device; and the modes of the modules, and of parts that may depend on theirs.

    Args:
        modules: the modules by name; the mapping is read again at each check.
        names: the names of the modules that matter.
    """

    def __init__(self, modules: Mapping[str, nn.Module], names: Iterable[str]) -> None:
        self._mapping, self._names = modules, list(dict.fromkeys(names))
        chosen = [modules[name] for name in self._names]
        tensors = [[*module.parameters(), *module.buffers()] for module in chosen]
        self._tensors = list({id(tensor): tensor for row in tensors for tensor in row}.values())
        self._first = [row[0] for row in tensors if row]
        parts = {id(part): part for module in chosen for part in module.modules() if _may_depend_on_mode(part)}
        self._with_modes = [*chosen, *parts.values()]
        self._before = self._now()

    def __reduce__(self) -> Any:
        """Copies remember the weights of the copied modules."""
        self.check("the copied object")
        return Unchanged, (self._mapping, self._names)

    def check(self, since: str) -> None:
        """Raise a RuntimeError if a weight, a buffer, a dtype, a device, a mode or a module has changed.

        Args:
            since: what has to be called again, such as "flow.restrict".
        """
        if self._now() != self._before:
            raise RuntimeError(f"Expected the weights with which {since} was called; got others: call {since} again")

    def _now(self) -> Any:
        modules = [id(self._mapping[name]) for name in self._names]
        values = [tensor._version for tensor in self._tensors]
        return values, versions(self._first), [part.training for part in self._with_modes], modules


def _may_depend_on_mode(module: nn.Module) -> bool:
    """Whether `training` may matter to a module itself: not to those of this package, or to plain layers."""
    return type(module).__module__.partition(".")[0] != "mera" and type(module) not in PLAIN


PLAIN = {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.SiLU, nn.Sequential, nn.ModuleList}
"""Layers of torch that compute the same in both modes."""
