"""Layouts as TOML: a table `lattice`, then a table `node` for each node, in an order in which sources come first.

    [lattice]
    shape = [8, 8]
    channels = 1

    [[node]]
    name = "decimator"
    kind = "local"
    kernel = 4
    bijector = {name = "spline", bins = 5}

    [[node]]
    name = "halve"
    kind = "decimate"

    [[node]]
    name = "fine"
    kind = "latent"
    input = "halve.1"

    [[node]]
    name = "coarse"
    kind = "latent"
    input = "halve"

`input` is a node, "input" for the data, or a node and the number of one of its outputs; the node before if it is left
out. Bijectors are those of `mera.bijectors.names()`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import tomli_w

from mera._utils.checks import check_choice
from mera._utils.registry import plain
from mera.bijectors import Named
from mera.graph.compiler import compile
from mera.graph.errors import LayoutError
from mera.graph.layout import Layout, Port
from mera.graph.nodes import Decimate, Latent, Local, Node, Split, Squeeze
from mera.graph.topology import walk

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["dumps", "loads"]

KINDS: dict[str, type[Any]] = {
    "local": Local, "decimate": Decimate, "squeeze": Squeeze, "split": Split, "latent": Latent,
}  # fmt: skip
LATTICE = ("shape", "channels", "boundary", "context")


def dumps(layout: Layout) -> str:
    """A layout as TOML.

    Args:
        layout: a layout whose bijectors are registered ones; see `mera.bijectors.register`.

    Raises:
        LayoutError: if a node's bijector has no name, so that no text can say what it is, or `layout` is no layout.
    """
    if not isinstance(layout, Layout):
        raise LayoutError("a Layout", type(layout).__name__)
    lattice = layout.input.lattice
    boundaries = ["periodic" if wraps else "open" for wraps in lattice.periodic]
    table: dict[str, Any] = {
        "shape": list(lattice.shape),
        "channels": lattice.channels,
        "boundary": boundaries[0] if len(set(boundaries)) == 1 else boundaries,
    }
    if layout.context is not None:
        table["context"] = list(layout.context)
    nodes: list[dict[str, Any]] = []
    before = layout.input.node
    for name, node, source, output in walk(layout.graph):
        row = {"name": name, "kind": _kind(name, node)}
        if source != before or output:
            row["input"] = f"{'input' if source == layout.input.node else source}{f'.{output}' if output else ''}"
        nodes.append(row | _settings(name, node))
        before = name
    text = tomli_w.dumps({"lattice": table, "node": nodes})
    return re.sub(r"\[\n((?:    [^\[\]\n]+,\n)+)\]", _on_one_line, text)


def loads(text: str, source: str = "layout") -> Layout:
    """A layout from TOML.

    Args:
        text: what `dumps` wrote, or a user did.
        source: what messages call it, the path of a file say.

    Raises:
        LayoutError: if it is no layout; the message names the source, the node and the field.
    """
    if not isinstance(text, str):
        raise LayoutError("TOML as text", type(text).__name__, source=source)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # Python refuses integers of thousands of digits by itself
        raise LayoutError("TOML", str(error), source=source) from None
    try:
        layout = _layout(document)
        compile(layout)
    except LayoutError as error:
        raise LayoutError.from_error(error, source=source) from None
    return layout


def _on_one_line(array: re.Match[str]) -> str:
    """A short array as a person would write it."""
    return f"[{', '.join(item.strip().rstrip(',') for item in array[1].splitlines())}]"


def _kind(name: str, node: Node) -> str:
    for kind, type_of_node in KINDS.items():
        if type(node) is type_of_node:
            return kind
    raise LayoutError(f"a node of a kind that a file can say, {', '.join(KINDS)}", f"{node!r}", node=name)


def _settings(name: str, node: Any) -> dict[str, Any]:
    """A node's settings, but for those at their defaults."""
    settings = {}
    for field in fields(node):
        value = getattr(node, field.name)
        if field.name == "bijector":
            settings["bijector"] = _bijector(name, value)
        elif value != field.default:
            settings[field.name] = plain(value)
    return settings


def _bijector(name: str, bijector: Any) -> str | dict[str, Any]:
    if not isinstance(bijector, Named):
        raise LayoutError(
            "a bijector by name, see mera.bijectors.register, to write it to a file",
            f"{bijector!r}",
            field="bijector",
            node=name,
        )
    options = {key: plain(value) for key, value in bijector.options.items() if value is not None}
    try:
        tomli_w.dumps(options)
    except TypeError as error:
        raise LayoutError("options that TOML can hold", f"{options}: {error}", node=name) from None
    return {"name": bijector.name, **options} if options else bijector.name


def _layout(document: Mapping[str, Any]) -> Layout:
    """Build a layout node by node, as a user would."""
    _check_fields(document, ("lattice", "node"), ("lattice", "node"), "the file")
    lattice, rows = document["lattice"], document["node"]
    if not isinstance(lattice, Mapping) or not isinstance(rows, Sequence) or isinstance(rows, str):
        raise LayoutError("one table [lattice], and a table [[node]] for each node", "something else")
    _check_fields(lattice, LATTICE, ("shape",), "the lattice")
    try:
        layout = Layout(**lattice)
    except LayoutError as error:
        raise LayoutError(error.expected, error.got, field=f"lattice.{error.field}") from None
    ports: dict[str, tuple[Port, ...]] = {"input": (layout.input,)}
    before = "input"
    for number, row in enumerate(rows, start=1):
        name = row.get("name") if isinstance(row, Mapping) else None
        try:
            if not isinstance(row, Mapping):
                raise LayoutError("a table [[node]]", repr(row))
            outputs = _add(layout, ports, before, row)
        except LayoutError as error:
            raise LayoutError.from_error(error, node=name if isinstance(name, str) else f"#{number}") from None
        before = row["name"]
        ports[before] = outputs
    return layout


def _add(
    layout: Layout, ports: Mapping[str, tuple[Port, ...]], before: str, row: Mapping[str, Any]
) -> tuple[Port, ...]:
    """Add the node that a table describes; its outputs."""
    settings = dict(row)
    if "kind" not in settings or "name" not in settings:
        missing = "kind" if "kind" not in settings else "name"
        raise LayoutError(f"the field {missing!r}", f"{', '.join(settings) or 'none'}", field=missing)
    name, kind = settings.pop("name"), settings.pop("kind")
    port = _source(ports, settings.pop("input", before))
    try:
        made_by = KINDS[check_choice(kind, KINDS, "a kind of node")]
    except ValueError as error:
        raise LayoutError.from_error(error, field="kind") from None
    known = {field.name: field.default is MISSING for field in fields(made_by)}
    _check_fields(settings, known, [field for field, needed in known.items() if needed], f"a {kind} node")
    node = made_by(**{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})
    return layout.add(node, port, name)


def _source(ports: Mapping[str, tuple[Port, ...]], text: Any) -> Port:
    """The output that "node" or "node.1" means."""
    if not isinstance(text, str):
        raise LayoutError("an earlier node, or one with the number of an output", f"{text!r}", field="input")
    name, _, number = text.partition(".")
    try:
        outputs = ports[check_choice(name, ports, "the data or an earlier node")]
    except ValueError as error:
        raise LayoutError.from_error(error, field="input") from None
    if (number and not re.fullmatch("[0-9]{1,9}", number)) or int(number or 0) >= len(outputs):
        raise LayoutError(f"one of the {len(outputs)} outputs of {name!r}, from 0 on", f"{text!r}", field="input")
    return outputs[int(number or 0)]


def _check_fields(given: Mapping[str, Any], known: Collection[str], needed: Collection[str], what: str) -> None:
    """Refuse fields that there are not, and miss those that there must be."""
    for field in given:
        try:
            check_choice(field, known, f"a field of {what}")
        except ValueError as error:
            raise LayoutError.from_error(error, field=field) from None
    for field in needed:
        if field not in given:
            raise LayoutError(f"the field {field!r} in {what}", f"{', '.join(given) or 'none'}", field=field)
