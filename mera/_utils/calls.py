"""A name with options, written as a call: `spline(bins=5)`, in Python, in TOML and on the command line."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from mera._utils.errors import InputError

PAIR = (
    r"""([A-Za-z_]\w*)\s*=\s*("[^"]*"|'[^']*'|[\[({].*?[\])}](?=\s*,?\s*(?:[A-Za-z_]\w*\s*=|$))|[^\s,"'\[\](){}=]+)"""
)
"""NAME=VALUE: the value is in quotes, in brackets, or without spaces."""
WORDS = {"true": True, "false": False, "null": None, "inf": float("inf"), "-inf": float("-inf")}


def parse_call(text: str, example: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Parse a name, or a name with values and options in parentheses, into (name, positional values, options).

    Args:
        text: the text; a value is a Python literal, a word, or another call, which stays text.
        example: a text of the right form, for messages.

    Raises:
        ValueError: if the text has another form.

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
        parts = [_value(ast.get_source_segment(source, node) or "") for node in (*values, *options.values())]
    except (ValueError, SyntaxError, AttributeError) as error:
        raise InputError(f"a name, or a name with options such as {example}", repr(text)) from error
    return match[1], parts[: len(values)], dict(zip(options, parts[len(values) :], strict=True))


def parse_assignments(text: str) -> dict[str, Any]:
    """Parse options NAME=VALUE with spaces or commas between them; a value is a Python literal, JSON, or else text.

    Raises:
        ValueError: if the text has another form, or contains no option.

    >>> parse_assignments("betas=(0.9, 0.99) amsgrad=true root=/data/x")
    {'betas': (0.9, 0.99), 'amsgrad': True, 'root': '/data/x'}
    >>> parse_assignments('name = "a = b", number="3"')
    {'name': 'a = b', 'number': '3'}
    """
    try:
        is_whole = re.fullmatch(rf"\s*({PAIR}\s*,?\s*)+", text, re.DOTALL)
        pairs = [(name, _value(value)) for name, value in re.findall(PAIR, text, re.DOTALL)]
    except ValueError:
        is_whole, pairs = None, []
    if is_whole is None or len(dict(pairs)) < len(pairs):
        raise InputError('options such as rate=0.1 flag=true sizes=[1,2] name="a b"', repr(text))
    return dict(pairs)


def _value(text: str) -> Any:
    """A Python literal or JSON, or else a word or a call, as text."""
    for parse in (ast.literal_eval, json.loads):
        try:
            return parse(text)
        except (ValueError, SyntaxError):
            continue
    if re.search(r"[\[\]{}\"'=,]|^\(", re.sub(r"^[\w-]+\(.*\)$", "", text, flags=re.DOTALL)):
        raise ValueError(text) from None
    return WORDS.get(text, text)
