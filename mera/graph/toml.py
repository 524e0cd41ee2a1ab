"""Layouts as TOML: a table `lattice`, and a table `node` for each node, after the node that is its input.

    [lattice]
    shape = [8, 8]
    channels = 1

    [[node]]
    name = "decimator"
    kind = "local"
    kernel = 4
    bijector = {name = "maf", layers = 5}

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

`input` is the output that a node acts on: "input" for the data, "halve" for the first output of the node "halve",
"halve.1" for its second output. Its default is the first output of the node in the table before. A bijector is a name
of `mera.bijectors.names()`, or a table of the name and options.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import tomli_w

from mera._utils.checks import check_choice
from mera._utils.registry import plain
from mera.bijectors import Named
from mera.graph.compiler import compile
from mera.graph.layout import Layout, Port
from mera.graph.layout_error import LayoutError, within
from mera.graph.nodes import KINDS

LATTICE = ("shape", "channels", "boundary", "context")
"""The fields of the table `lattice`, which are arguments of `Layout`."""


def dumps(layout: Layout) -> str:
    """Write a layout as TOML.

    Args:
        layout: a layout of registered bijectors; see `mera.bijectors.register`.

    Raises:
        LayoutError: if the argument is not a `Layout`, the bijector of a node is not registered, or an option of a
            bijector cannot be written as TOML.
    """
    if not isinstance(layout, Layout):
        raise LayoutError("a Layout", type(layout).__name__)
    lattice = layout.input.lattice
    boundaries = ["periodic" if periodic else "open" for periodic in lattice.periodic]
    table: dict[str, Any] = {
        "shape": list(lattice.shape),
        "channels": lattice.channels,
        "boundary": boundaries[0] if len(set(boundaries)) == 1 else boundaries,
    }
    if layout.context is not None:
        table["context"] = list(layout.context)
    nodes: list[dict[str, Any]] = []
    previous = "input"
    for name, node, source, output in layout.walk():
        kind = next((kind for kind, node_class in KINDS.items() if type(node) is node_class), None)
        if kind is None:
            expected = f"a node of a kind that can be written to a file, {', '.join(KINDS)}"
            raise LayoutError(expected, f"{node!r}", node=name)
        row = {"name": name, "kind": kind}
        if source != previous or output:
            row["input"] = f"{source}.{output}" if output else source
        nodes.append(row | _settings(name, node))
        previous = name
    lines: list[str] = []
    for header, fields_of_table in [("[lattice]", table), *(("[[node]]", row) for row in nodes)]:
        lines += [header, *(f"{key} = {_value(value)}" for key, value in fields_of_table.items()), ""]
    return "\n".join(lines)


def loads(text: str, source: str = "layout") -> Layout:
    """Read a layout from TOML.

    Args:
        text: the TOML, written by `dumps` or by hand.
        source: the name of the text in messages, for example the path of a file.

    Raises:
        LayoutError: if the text does not describe a layout; the message names the source, the node and the field.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError, too, for integers of thousands of digits
        raise LayoutError("TOML", f"{source}: {error}") from None
    with within(source):
        layout = _layout(document)
        compile(layout)
    return layout


def _value(value: Any) -> str:
    """A value of TOML on one line; `tomli_w` would write short tables in an array as one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _key(key: str) -> str:
    """A key of TOML, quoted if necessary."""
    return tomli_w.dumps({key: 0}).removesuffix(" = 0\n")


def _settings(name: str, node: Any) -> dict[str, Any]:
    """The settings of a node that differ from their defaults."""
    settings = {}
    for field in fields(node):
        value = getattr(node, field.name)
        if field.name == "bijector":
            settings["bijector"] = _bijector(name, value)
        elif value != field.default:
            settings[field.name] = plain(value)
    return settings


def _bijector(name: str, bijector: Any) -> str | dict[str, Any]:
    """A registered bijector as its name, or as a table of its name and options; `name` is the name of the node."""
    if not isinstance(bijector, Named):
        expected = "a bijector by name, see mera.bijectors.register, to write it to a file"
        raise LayoutError(expected, f"{bijector!r}", field="bijector", node=name)
    options = {key: plain(value) for key, value in bijector.options.items() if value is not None}
    try:
        tomli_w.dumps(options)
    except TypeError as error:
        raise LayoutError("options that TOML can hold", f"{options}: {error}", node=name) from None
    return {"name": bijector.name, **options} if options else bijector.name


def _layout(document: Mapping[str, Any]) -> Layout:
    """The layout that a parsed file describes, built node by node."""
    _check_fields(document, ("lattice", "node"), ("lattice", "node"), "the file")
    lattice, rows = document["lattice"], document["node"]
    if not isinstance(lattice, Mapping) or not isinstance(rows, Sequence) or isinstance(rows, str):
        raise LayoutError("one table [lattice], and a table [[node]] for each node", "something else")
    _check_fields(lattice, LATTICE, ("shape",), "the lattice")
    with within("table [lattice]"):
        layout = Layout(**lattice)
    ports: dict[str, tuple[Port, ...]] = {"input": (layout.input,)}
    previous = "input"
    for number, row in enumerate(rows, start=1):
        name = row.get("name") if isinstance(row, Mapping) else None
        with within(f"node {name if isinstance(name, str) else f'#{number}'!r}"):
            if not isinstance(row, Mapping):
                raise LayoutError("a table [[node]]", repr(row))
            outputs = _add(layout, ports, previous, row)
        previous = row["name"]
        ports[previous] = outputs
    return layout


def _add(
    layout: Layout, ports: Mapping[str, tuple[Port, ...]], previous: str, row: Mapping[str, Any]
) -> tuple[Port, ...]:
    """Add the node that a table of the file describes to a layout, and return its outputs.

    Args:
        layout: the layout.
        ports: the outputs of all nodes so far, by the name of the node.
        previous: the name of the previous table's node, whose first output is the default input.
        row: the table.
    """
    _check_fields(row, row, ("kind", "name"), "the table")  # which others there may be depends on the kind
    settings = dict(row)
    name, kind = settings.pop("name"), settings.pop("kind")
    port = _source(ports, settings.pop("input", previous))
    with within("setting 'kind'"):
        node_class = KINDS[check_choice(kind, KINDS, "a kind of node")]
    defaults = {field.name: field.default for field in fields(node_class)}
    required = [setting for setting, default in defaults.items() if default is MISSING]
    _check_fields(settings, defaults, required, f"a {kind} node")
    node = node_class(**{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})
    return layout.add(node, port, name)


def _source(ports: Mapping[str, tuple[Port, ...]], text: Any) -> Port:
    """The output that the field `input` refers to, "node" or "node.1"."""
    if not isinstance(text, str):
        raise LayoutError("an earlier node, or one with the number of an output", f"{text!r}", field="input")
    name, _, number = text.partition(".")
    with within("setting 'input'"):
        outputs = ports[check_choice(name, ports, "the data or an earlier node")]
    if (number and not re.fullmatch("[0-9]{1,9}", number)) or int(number or 0) >= len(outputs):
        raise LayoutError(f"one of the {len(outputs)} outputs of {name!r}, from 0 on", f"{text!r}", field="input")
    return outputs[int(number or 0)]


def _check_fields(table: Mapping[str, Any], fields: Collection[str], required: Collection[str], title: str) -> None:
    """Raise a LayoutError for an unknown or a missing field; `title` is the name of the table in messages."""
    for field in table:
        with within(f"setting {field!r}"):
            check_choice(field, fields, f"a field of {title}")
    for field in required:
        if field not in table:
            raise LayoutError(f"the field {field!r} in {title}", f"{', '.join(table) or 'none'}", field=field)
