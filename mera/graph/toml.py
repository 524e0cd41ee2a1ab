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
from os import PathLike
from typing import Any

import tomli_w

from mera._utils.checks import check_choice
from mera._utils.files import as_path, write_atomically
from mera._utils.registry import plain
from mera.bijectors import Named
from mera.graph.compiler import compile
from mera.graph.lattice import LayoutError
from mera.graph.layout import Layout, Port
from mera.graph.nodes import Decimate, Latent, Local, Node, Split, Squeeze
from mera.graph.topology import walk

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["dumps", "load_layout", "loads", "save_layout"]

KINDS: dict[str, type[Any]] = {
    "local": Local, "decimate": Decimate, "squeeze": Squeeze, "split": Split, "latent": Latent,
}  # fmt: skip
LATTICE = ("shape", "channels", "boundary", "context")


def save_layout(layout: Layout, path: str | PathLike[str]) -> None:
    """Write a layout as TOML; the file appears whole or not at all.

    Raises:
        LayoutError: if a node's bijector has no name, so that no file can say what it is.
    """
    write_atomically(path, dumps(layout).encode())


def load_layout(path: str | PathLike[str]) -> Layout:
    """Read a layout from a TOML file, which cannot hold code.

    Raises:
        FileNotFoundError: if there is no such file.
        LayoutError: if it is no layout; the message names the file, the node and the field.
    """
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file {path}; got none")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path}: Expected TOML; got a file that is no text: {error}") from None
    return loads(text, str(path))


def dumps(layout: Layout) -> str:
    """A layout as TOML.

    Raises:
        LayoutError: as for `save_layout`.
    """
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
        raise LayoutError(f"{source}: Expected TOML as text; got {type(text).__name__}")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LayoutError(f"{source}: Expected TOML; got {error}") from None
    try:
        layout = _layout(document)
        compile(layout)
    except LayoutError as error:
        raise LayoutError(f"{source}: {error}", error.field) from None
    return layout


def _on_one_line(array: re.Match[str]) -> str:
    """A short array as a person would write it."""
    return f"[{', '.join(item.strip().rstrip(',') for item in array[1].splitlines())}]"


def _kind(name: str, node: Node) -> str:
    for kind, type_of_node in KINDS.items():
        if type(node) is type_of_node:
            return kind
    raise LayoutError(f"node {name!r}: Expected a node of a kind that a file can say, {', '.join(KINDS)}; got {node!r}")


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
            f"node {name!r}: Expected a bijector by name, see mera.bijectors.register, to write it to a file; "
            f"got {bijector!r}",
            "bijector",
        )
    options = {key: plain(value) for key, value in bijector.options.items() if value is not None}
    try:
        tomli_w.dumps(options)
    except TypeError as error:
        raise LayoutError(f"node {name!r}: Expected options that TOML can hold; got {options}: {error}") from None
    return {"name": bijector.name, **options} if options else bijector.name


def _layout(document: Mapping[str, Any]) -> Layout:
    """Build a layout node by node, as a user would."""
    _check_fields(document, ("lattice", "node"), ("lattice", "node"), "the file")
    lattice, rows = document["lattice"], document["node"]
    if not isinstance(lattice, Mapping) or not isinstance(rows, Sequence) or isinstance(rows, str):
        raise LayoutError("Expected one table [lattice], and a table [[node]] for each node; got something else")
    _check_fields(lattice, LATTICE, ("shape",), "the lattice")
    try:
        layout = Layout(**lattice)
    except (LayoutError, TypeError) as error:
        raise LayoutError(f"the lattice: {error}") from None
    ports: dict[str, tuple[Port, ...]] = {"input": (layout.input,)}
    before = "input"
    for number, row in enumerate(rows):
        name = row.get("name") if isinstance(row, Mapping) else None
        where = f"node {name!r}" if isinstance(name, str) else f"node number {number + 1}"
        try:
            if not isinstance(row, Mapping):
                raise LayoutError(f"Expected a table [[node]]; got {row!r}")
            added = _add(layout, ports, before, row)
            before = row["name"]
            ports[before] = added
        except LayoutError as error:
            field = f"field {error.field!r}: " if error.field else ""
            text = str(error).removeprefix(f"node {name!r}: ")
            raise LayoutError(f"{where}: {field}{text}", error.field) from None
    return layout


def _add(
    layout: Layout, ports: Mapping[str, tuple[Port, ...]], before: str, row: Mapping[str, Any]
) -> tuple[Port, ...]:
    """Add the node that a table describes; its outputs."""
    settings = dict(row)
    if "kind" not in settings or "name" not in settings:
        missing = "kind" if "kind" not in settings else "name"
        raise LayoutError(f"Expected the field {missing!r}; got {', '.join(settings) or 'none'}", missing)
    name, kind = settings.pop("name"), settings.pop("kind")
    port = _source(ports, settings.pop("input", before))
    try:
        made_by = KINDS[check_choice(kind, KINDS, "a kind of node")]
    except ValueError as error:
        raise LayoutError(str(error), "kind") from None
    known = {field.name: field.default is MISSING for field in fields(made_by)}
    _check_fields(settings, known, [field for field, needed in known.items() if needed], f"a {kind} node")
    node = made_by(**{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})
    return layout.add(node, port, name)


def _source(ports: Mapping[str, tuple[Port, ...]], text: Any) -> Port:
    """The output that "node" or "node.1" means."""
    if not isinstance(text, str):
        raise LayoutError(f"Expected an earlier node, or one with the number of an output; got {text!r}", "input")
    name, _, number = text.partition(".")
    try:
        outputs = ports[check_choice(name, ports, "the data or an earlier node")]
    except ValueError as error:
        raise LayoutError(str(error), "input") from None
    if (number and not number.isdigit()) or int(number or 0) >= len(outputs):
        raise LayoutError(f"Expected one of the {len(outputs)} outputs of {name!r}, from 0 on; got {text!r}", "input")
    return outputs[int(number or 0)]


def _check_fields(given: Mapping[str, Any], known: Collection[str], needed: Collection[str], what: str) -> None:
    """Refuse fields that there are not, and miss those that there must be."""
    for field in given:
        try:
            check_choice(field, known, f"a field of {what}")
        except ValueError as error:
            raise LayoutError(str(error), field) from None
    for field in needed:
        if field not in given:
            raise LayoutError(f"Expected the field {field!r} in {what}; got {', '.join(given) or 'none'}", field)
