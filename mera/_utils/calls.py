"""A name with options, written as a call: `spline(bins=5)`, in Python, in TOML and on the command line."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from mera._utils.errors import InputError

BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z_]\w*\s*=)")
"""What separates two assignments NAME=VALUE."""
WORDS = {"true": True, "false": False, "null": None, "inf": float("inf"), "-inf": float("-inf")}


def parse_call(text: str, example: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Parse a name, or a name with values and options in parentheses, into (name, positional values, options).

    Args:
        text: the text; a value is a Python literal, a word, or another call, which stays text.
        example: a text of the right form, for messages.

    >>> parse_call("spline(bins=5, mask=[[1, 0], [0, 1]])", "")
    ('spline', [], {'bins': 5, 'mask': [[1, 0], [0, 1]]})
    >>> parse_call("StudentT(4.)", ""), parse_call("rgflow(bijector=spline(bins=5))", "")
    (('StudentT', [4.0], {}), ('rgflow', [], {'bijector': 'spline(bins=5)'}))
    """
    match = re.fullmatch(r"\s*([\w-]+)(?:\((.*)\))?\s*", text, re.DOTALL)
    source = "" if match is None else f"f({match[2] or ''})"
    try:
        call: Any = ast.parse(source, mode="eval").body
        values, options = call.args, {keyword.arg: keyword.value for keyword in call.keywords}
        if match is None or not isinstance(call.func, ast.Name) or None in options or len(options) < len(call.keywords):
            raise ValueError(text)
        parts = [parse_value(ast.get_source_segment(source, node) or "") for node in (*values, *options.values())]
    except (ValueError, SyntaxError, AttributeError) as error:
        raise InputError(f"a name, or a name with options such as {example}", repr(text)) from error
    return match[1], parts[: len(values)], dict(zip(options, parts[len(values) :], strict=True))


def parse_assignments(text: str) -> dict[str, Any]:
    """Parse options NAME=VALUE with spaces or commas between them; a value is a Python literal, JSON, or else text.

    >>> parse_assignments("betas=(0.9, 0.99) amsgrad=true root=/data/x")
    {'betas': (0.9, 0.99), 'amsgrad': True, 'root': '/data/x'}
    >>> parse_assignments('name = "a = b", number="3"')
    {'name': 'a = b', 'number': '3'}
    """
    try:
        pairs = [
            re.fullmatch(r"\s*([A-Za-z_]\w*)\s*=(.+)", part, re.DOTALL) for part in BETWEEN.split(text.strip(" ,"))
        ]
        options = {pair[1]: parse_value(pair[2].strip()) for pair in pairs if pair is not None}
    except ValueError:
        pairs, options = [], {}
    if not options or len(options) < len(pairs):
        raise InputError('options such as rate=0.1 flag=true sizes=[1,2] name="a b"', repr(text))
    return options


def parse_value(text: str) -> Any:
    """Parse a Python literal, JSON, or else a word or a call, which stay text.

    >>> parse_value("8,6,4"), parse_value("true"), parse_value("maf(layers=2)")
    ((8, 6, 4), True, 'maf(layers=2)')
    """
    for parse in (ast.literal_eval, json.loads):
        try:
            return parse(text)
        except (ValueError, SyntaxError):
            continue
    if not text or re.search(r"[\s\[\]{}\"'=,]|^\(", re.sub(r"^[\w-]+\(.*\)$", "", text, flags=re.DOTALL)):
        raise InputError("a value such as 4, 0.5, 8,6,4, true or a word", repr(text)) from None
    return WORDS.get(text, text)
