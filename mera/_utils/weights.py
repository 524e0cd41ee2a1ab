"""A check that the weights of modules have not changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from torch import Tensor, nn


def versions(tensors: Iterable[Tensor]) -> list[tuple[int, int]]:
    """Numbers that change when values of tensors change in place, or when the tensors get other memory."""
    return [(tensor.data_ptr(), tensor._version) for tensor in tensors]


class Unchanged:
    """Detect changes of weights, buffers, modes or modules since this object was made.

    A check is quick, and compares the versions of tensors, which change with their values; the first parameter of each
    module, whose memory changes with dtype and device and whose value a fused optimizer changes without a new version;
    and the modes of all parts of the modules.

    Args:
        modules: the modules by name; the mapping is read again at each check.
        names: the names of the modules that matter.
    """

    def __init__(self, modules: Mapping[str, nn.Module], names: Iterable[str]) -> None:
        self._mapping, self._names = modules, list(dict.fromkeys(names))
        chosen = [modules[name] for name in self._names]
        tensors = {id(t): t for module in chosen for t in (*module.parameters(), *module.buffers())}
        self._tensors = [tensor for tensor in tensors.values() if not tensor.is_inference()]  # others have no versions
        firsts = [(module, name) for module in chosen for name, _ in islice(module.named_parameters(), 1)]
        paths = [(module, *name.rpartition(".")) for module, name in firsts]
        self._first = [(module.get_submodule(path), name) for module, path, _, name in paths]
        parameters = [getattr(owner, name).detach() for owner, name in self._first]
        self._values = [p.flatten()[:1].numpy() for p in parameters if p.device.type == "cpu" and p.numel()]
        self._parts = [part for module in chosen for part in module.modules()]
        self._before = self._now()

    def __reduce__(self) -> Any:
        """Copies remember the weights of the copied modules."""
        self.check("the copied object")
        return Unchanged, (self._mapping, self._names)

    def check(self, since: str) -> None:
        """Raise a RuntimeError if a weight, a buffer, a mode or a module has changed since a call, which it names."""
        if self._now() != self._before:
            raise RuntimeError(
                f"Expected the weights and modes with which {since} was called; got others: call {since} again"
            )

    def _now(self) -> Any:
        modules = [id(self._mapping[name]) for name in self._names]
        first = versions(getattr(owner, name) for owner, name in self._first)
        values = [tensor._version for tensor in self._tensors], [value[0] for value in self._values]
        return modules, first, values, [part.training for part in self._parts]
