"""Simplification of recordings of torch: operations that change nothing are removed.

A recording is made for one set of shapes. Each operation of a recording on little data takes a microsecond or more,
whether or not it changes its argument, as the addition of a log-det of zero or `flatten` of a matrix does not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

RESHAPES = {"aten::flatten", "aten::reshape", "aten::unflatten", "aten::view"}
"""Operations whose result has the numbers of the first argument, in their order."""


def simplify(graph: Any) -> None:
    """Simplify a recording, a `torch._C.Graph`, in place; results and gradients stay equal to rounding.

    What depends on shapes and constants alone becomes a constant, such as the exponential of a parameter.
    """
    _run(graph, "peephole", "constant_propagation", "cse")
    for node in _free_nodes(graph):
        if node.kind() == "aten::new_zeros":
            _make_constant(graph, node)
    _run(graph, "constant_propagation")
    for node in _free_nodes(graph):
        if node.kind() in RESHAPES:
            _merge_with_reshape_before(graph, node)
    _run(graph, "dce")
    for node in _free_nodes(graph):
        if (unchanged := _unchanged_argument(node)) is not None:
            _replace(node, unchanged)
        elif node.kind() == "aten::linear":
            _multiply_directly(graph, node)
    _run(graph, "dce")


def _run(graph: Any, *passes: str) -> None:
    """Run passes of torch over a recording; one whose name is missing is left out."""
    for name in passes:
        getattr(torch._C, f"_jit_pass_{name}", lambda graph: None)(graph)


def _free_nodes(graph: Any) -> list[Any]:
    """The nodes with one output that the recording does not return, whose inputs and output never change in place."""
    is_written, returned = graph.alias_db().has_writers, {value.debugName() for value in graph.outputs()}
    nodes = [node for node in graph.nodes() if node.outputsSize() == 1 and node.output().debugName() not in returned]
    return [node for node in nodes if not any(map(is_written, [node.output(), *node.inputs()]))]


def _replace(node: Any, value: Any) -> None:
    """Use a value in place of the output of a node."""
    node.output().replaceAllUsesWith(value)
    node.destroy()


def _replace_by(graph: Any, node: Any, kind: str, *arguments: Any) -> None:
    """Use another operation in place of a node; arguments that are not values of the graph become constants."""
    values = [a if isinstance(a, torch._C.Value) else _constant(graph, node, a) for a in arguments]
    other = graph.create(kind, values, 1)
    other.insertBefore(node)
    other.output().setTypeAs(node.output())
    _replace(node, other.output())


def _constant(graph: Any, node: Any, value: object) -> Any:
    """A constant that is defined before a node."""
    constant = graph.insertConstant(value)
    constant.node().moveBefore(node)
    return constant


def _make_constant(graph: Any, node: Any) -> None:
    """Replace `new_zeros` by a constant tensor."""
    kind = node.output().type()
    _replace(node, _constant(graph, node, torch.zeros(kind.sizes(), dtype=kind.dtype(), device=kind.device())))


def _merge_with_reshape_before(graph: Any, node: Any) -> None:
    """Let a node that reshapes the result of another such node reshape the argument of that node."""
    before, form = next(node.inputs()).node(), _form(node.output())
    if before.kind() in RESHAPES and form is not None and form[0]:  # torch takes no empty list for a constant
        _replace_by(graph, node, "aten::reshape", next(before.inputs()), form[0])


def _unchanged_argument(node: Any) -> Any | None:
    """The argument that an operation returns with all its numbers, or None."""
    kind, arguments = node.kind(), list(node.inputs())
    if kind in RESHAPES or kind == "aten::to":
        unchanged = arguments[:1]
    elif kind == "aten::add" and arguments[2].toIValue() == 1:
        unchanged = [a for a, b in (arguments[:2], arguments[1::-1]) if _is_zero(b)]
    else:
        unchanged = []
    return next((value for value in unchanged if _form(value) == _form(node.output()) is not None), None)


def _multiply_directly(graph: Any, node: Any) -> None:
    """Make a linear layer with constant weights one operation; torch would transpose the weight in each call."""
    x, weight, bias = (value if i == 0 else value.toIValue() for i, value in enumerate(node.inputs()))
    form = _form(x)
    if isinstance(weight, Tensor) and isinstance(bias, Tensor) and form and len(form[0]) == weight.ndim == 2:
        _replace_by(graph, node, "aten::addmm", bias, x, weight.mT, 1, 1)


def _is_zero(value: Any) -> bool:
    number = value.toIValue()
    return isinstance(number, Tensor) and not number.count_nonzero()


def _form(value: Any) -> tuple[Any, ...] | None:
    """The shape, strides, dtype and device of a tensor; None where they are not known."""
    kind = value.type()
    if not isinstance(kind, torch._C.TensorType):
        return None
    form = kind.sizes(), kind.strides(), kind.dtype(), kind.device()
    return None if None in form else form
