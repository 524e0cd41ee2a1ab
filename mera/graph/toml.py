"""Layouts as TOML: a table `lattice`, and a table `node` for each node, after the node that is its input.

    [lattice]
    shape = [8, 8]
    channels = 1

    [[node]]
    name = "decimator"
    kind = "local"
    kernel = 4
    bijector = {name = "coupling", layers = 5}

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
of `mera.bijectors.names()`, "coupling" or "coupling(layers=5)", or a table of the name and options.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any, cast

from mera._utils.checks import check_choice, check_type
from mera._utils.registry import plain
from mera.bijectors import Named, named
from mera.graph.compiler import compile
from mera.graph.layout import Layout, Port
from mera.graph.layout_error import LayoutError, within
from mera.graph.nodes import KINDS

LATTICE = ("shape", "channels", "boundary", "context")
"""The fields of the table `lattice`, which are arguments of `Layout`."""


def dumps(layout: Layout) -> str:
    """Write a layout of registered bijectors, see `mera.bijectors.register`, as TOML.

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
        kind = type(node).__name__.lower()
        row: dict[str, Any] = {"name": name, "kind": kind}
        if source != previous or output:
            row["input"] = f"{source}.{output}" if output else source
        for setting in fields(cast(Any, node)):
            value = getattr(node, setting.name)
            if setting.name == "bijector":
                row["bijector"] = _bijector(name, value)
            elif value != setting.default:
                row[setting.name] = plain(value)
        nodes.append(row)
        previous = name
    lines: list[str] = []
    for header, row in [("[lattice]", table), *(("[[node]]", row) for row in nodes)]:
        lines += [header, *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in row.items()), ""]
    return "\n".join(lines).replace("\x7f", "\\u007f")  # which JSON allows in text, and TOML does not


def loads(text: str, source: str = "layout") -> Layout:
    """Read a layout from TOML, written by `dumps` or by hand; messages call it `source`, such as the path of its file.

    Raises:
        LayoutError: if the text does not describe a layout; the message names the source, the node and the field.
    """
    try:
        document = tomllib.loads(check_type(text, str, "a text"))
    except (ValueError, RecursionError) as error:  # a ValueError, too, for integers of thousands of digits
        raise LayoutError("TOML", f"{source}: {error}") from None
    with within(source):
        _check_fields(document, ("lattice", "node"), ("lattice", "node"), "the file")
        lattice, rows = document["lattice"], document["node"]
        is_list = isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows)
        if not isinstance(lattice, Mapping) or not is_list:
            raise LayoutError("one table [lattice], and a table [[node]] for each node", "something else")
        _check_fields(lattice, LATTICE, ("shape",), "the lattice")
        with within("table [lattice]"):
            layout = Layout(**lattice)
        ports = {"input": layout.input}
        previous = "input"
        for number, row in enumerate(rows, start=1):
            with within(f"node {row.get('name', f'#{number}')!r}"):
                outputs = _add(layout, ports, previous, row)
            previous = row["name"]
            ports |= {f"{previous}.{i}": port for i, port in enumerate(outputs)}
            if outputs:
                ports[previous] = outputs[0]
        compile(layout)
    return layout


def _bijector(name: str, bijector: Any) -> str:
    """A registered bijector as text, "coupling(layers=5)"; `name` is the name of the node."""
    if not isinstance(bijector, Named):
        expected = "a bijector by name, see mera.bijectors.register, to write it to a file"
        raise LayoutError(expected, f"{bijector!r}", field="bijector", node=name)
    options = ", ".join(f"{key}={plain(value)!r}" for key, value in bijector.options.items())
    text = f"{bijector.name}({options})" if options else bijector.name
    if named(text) != named(bijector.name, bijector.options):
        raise LayoutError("options that are numbers, text, or lists of them", options, node=name)
    return text


def _add(layout: Layout, ports: Mapping[str, Port], previous: str, row: Mapping[str, Any]) -> tuple[Port, ...]:
    """Add the node that a table of the file describes to a layout, and return its outputs.

    `ports` has all outputs so far by the text of the field `input`, "halve" or "halve.1"; `previous` is its default.
    """
    _check_fields(row, row, ("kind", "name"), "the table")  # the other fields depend on the kind
    settings = dict(row)
    name, kind = settings.pop("name"), settings.pop("kind")
    with within("setting 'input'"):
        port = ports[check_choice(settings.pop("input", previous), ports, "the data or an output of an earlier node")]
    with within("setting 'kind'"):
        node_class = KINDS[check_choice(kind, KINDS, "a kind of node")]
    defaults = {field.name: field.default for field in fields(node_class)}
    required = [setting for setting, default in defaults.items() if default is MISSING]
    _check_fields(settings, defaults, required, f"a {kind} node")
    node = node_class(**{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})
    return layout.add(node, port, name)


def _check_fields(table: Mapping[str, Any], fields: Collection[str], required: Collection[str], title: str) -> None:
    """Raise a LayoutError for an unknown or a missing field; `title` is the name of the table in messages."""
    for field in table:
        with within(f"setting {field!r}"):
            check_choice(field, fields, f"a field of {title}")
    for field in required:
        if field not in table:
            raise LayoutError(f"the field {field!r} in {title}", f"{', '.join(table) or 'none'}", field=field)
