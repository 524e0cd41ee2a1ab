"""Export of a layout's graph to Mermaid and Graphviz."""

from __future__ import annotations

import json
from functools import partial

from mera._utils.door import checked
from mera.graph.layout import Layout
from mera.graph.nodes import Decimate, Input, Latent, Local, Node, Split, Squeeze
from mera.graph.plan import brief
from mera.graph.topology import walk


@checked
def to_mermaid(layout: Layout) -> str:
    """The graph of a layout as a Mermaid flowchart, for GitHub and many editors, with the data at the bottom.

    Args:
        layout: the layout.

    >>> from mera.graph import Layout
    >>> layout = Layout((4,), 1)
    >>> layout.latent(layout.local(layout.input, "actnorm", kernel=2, name="norm"), name="z0")
    >>> print(to_mermaid(layout))
    flowchart BT
        n0(["input: 1 x 4"])
        n1["norm: actnorm, kernel 2"]
        n2(["z0"])
        n0 --> n1
        n1 --> n2
    """
    shapes: dict[type, tuple[str, str]] = {Input: ('(["', '"])'), Latent: ('(["', '"])'), Local: ('["', '"]')}
    number = {name: f"n{i}" for i, name in enumerate(layout.nodes)}
    lines = ["flowchart BT"]
    for name, node in layout.nodes.items():
        before, after = shapes.get(type(node), ('{{"', '"}}'))
        lines.append(f"    {number[name]}{before}{_label(name, node).replace(chr(34), '#quot;')}{after}")
    for name, _, source, output in walk(layout.graph):
        lines.append(f"    {number[source]} -->{f'|{output}|' if output else ''} {number[name]}")
    return "\n".join(lines)


@checked
def to_graphviz(layout: Layout) -> str:
    """The graph of a layout in the DOT language of Graphviz, whose command `dot -Tpng` draws it.

    Args:
        layout: the layout.
    """
    shapes: dict[type, str] = {Input: "ellipse", Latent: "ellipse", Local: "box"}
    quoted = partial(json.dumps, ensure_ascii=False)
    lines = ["digraph layout {", "    rankdir=BT;"]
    for name, node in layout.nodes.items():
        shape = shapes.get(type(node), "hexagon")
        lines.append(f"    {quoted(name)} [label={quoted(_label(name, node))}, shape={shape}];")
    for name, _, source, output in walk(layout.graph):
        lines.append(f"    {quoted(source)} -> {quoted(name)}{f' [label={output}]' if output else ''};")
    return "\n".join([*lines, "}"])


def _label(name: str, node: Node) -> str:
    """A short description of a node: its name, its kind and its settings."""
    match node:
        case Input():
            return f"{name}: {node.lattice}"
        case Local():
            class_name = getattr(node.bijector, "__name__", type(node.bijector).__name__)
            kind = getattr(node.bijector, "name", None) or class_name
            settings = {"stride": node.stride, "offset": node.offset, "passive": node.passive}
            text = "".join(f", {setting} {brief(value)}" for setting, value in settings.items() if value)
            return f"{name}: {kind}, kernel {brief(node.kernel)}{text}"
        case Decimate() | Squeeze():
            return f"{name}: {type(node).__name__.lower()} by {brief(node.stride)}"
        case Split():
            return f"{name}: keep {node.keep} channels"
    return name
