"""A name with options, written as a call: `spline(bins=5)`, in Python, in TOML and on the command line."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from mera._utils.errors import InputError

__all__ = ["parse_assignments", "parse_call"]


def parse_call(text: str, example: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The name, the values without a name and the options in a text.

    Args:
        text: a name, or a name with values and options in parentheses.
        example: a text of the right form, for messages.

    Raises:
        ValueError: if the text has another form.

    >>> parse_call("spline(bins=5, mask=[[1, 0], [0, 1]])", "")
    ('spline', [], {'bins': 5, 'mask': [[1, 0], [0, 1]]})
    >>> parse_call("StudentT(4)", ""), parse_call("maf", "")
    (('StudentT', [4], {}), ('maf', [], {}))
    """
    match = re.fullmatch(r"([\w-]+)(?:\((.*)\))?", text.strip(), re.DOTALL)
    if match is None:
        raise InputError(f"a name, or a name with options such as {example}", repr(text))
    return match[1], *_arguments(match[2] or "", example)


def parse_assignments(text: str, example: str = "betas=[0.9,0.99] amsgrad=true") -> dict[str, Any]:
    """Options by name, NAME=VALUE ..., where a value is JSON, a literal of Python, or else a word.

    Args:
        text: the text.
        example: a text of the right form, for messages.

    Raises:
        ValueError: if the text has another form, or holds no option.

    >>> parse_assignments("betas=[0.9, 0.99] amsgrad=true, mode=min")
    {'betas': [0.9, 0.99], 'amsgrad': True, 'mode': 'min'}
    """
    values, options = _arguments(text, example)
    if values or not options:
        raise InputError(f"options such as {example}", repr(text))
    return options


def _arguments(text: str, example: str) -> tuple[list[Any], dict[str, Any]]:
    """Values without a name, and options; both may be separated by commas or by spaces."""
    values: list[Any] = []
    options: dict[str, Any] = {}
    rest = text.strip()
    while rest:
        match = re.match(r"(\w+)\s*=\s*", rest)
        name, start = (None, 0) if match is None else (match[1], match.end())
        value, length = _value(rest[start:])
        if not length or name in options or (name is None and options):
            raise InputError(f"options such as {example}", repr(text))
        if name is None:
            values.append(value)
        else:
            options[name] = value
        rest = rest[start + length :].lstrip(" \t\n,")
    return values, options


def _value(text: str) -> tuple[Any, int]:
    """The value at the start of a text, which is JSON, a literal of Python or a word; and its length, 0 if none."""
    try:
        return json.JSONDecoder().raw_decode(text)
    except ValueError:
        match = re.match(r"\([^()]*\)|'[^']*'|[^\s,()=\[\]]*", text)
        found = match[0] if match is not None else ""
    try:
        return ast.literal_eval(found), len(found)
    except (ValueError, SyntaxError):
        return found, 0 if found.startswith("(") else len(found)
