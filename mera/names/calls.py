"""A name with options, written as a call: `spline(bins=5)`, in Python, in TOML and on the command line."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from mera._utils.errors import InputError

OPENING, CLOSING, QUOTES = "([{", ")]}", "\"'"


def parse_call(text: str, example: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Parse a name, or a name with values and options in parentheses, into (name, positional values, options).

    Raises:
        ValueError: if the text has another form; the message quotes `example`, a text of the right form.

    >>> parse_call("spline(bins=5, mask=[[1, 0], [0, 1]])", "")
    ('spline', [], {'bins': 5, 'mask': [[1, 0], [0, 1]]})
    >>> parse_call("StudentT(4.)", ""), parse_call("maf", "")
    (('StudentT', [4.0], {}), ('maf', [], {}))
    """
    match = re.fullmatch(r"([\w-]+)(?:\((.*)\))?", text.strip(), re.DOTALL)
    if match is None:
        raise InputError(f"a name, or a name with options such as {example}", repr(text))
    return match[1], *_arguments(match[2] or "", text, example)


def parse_assignments(text: str) -> dict[str, Any]:
    """Parse options NAME=VALUE, separated by commas or spaces; a value is JSON, a Python literal, or else a word.

    Values that contain other characters must be quoted.

    Raises:
        ValueError: if the text has another form, or contains no option.

    >>> parse_assignments("betas=(0.9, 0.99) amsgrad=true, mode=min")
    {'betas': (0.9, 0.99), 'amsgrad': True, 'mode': 'min'}
    >>> parse_assignments('name = "a = b"')
    {'name': 'a = b'}
    """
    example = 'rate=0.1 flag=true sizes=[1,2] name="a b"'
    values, options = _arguments(text, text, example)
    if values or not options:
        raise InputError(f"options such as {example}", repr(text))
    return options


def _arguments(inner: str, text: str, example: str) -> tuple[list[Any], dict[str, Any]]:
    """Positional values and options in `inner`; messages quote the whole text `text`."""
    values: list[Any] = []
    options: dict[str, Any] = {}
    for token in _tokens(re.sub(r"""("[^"]*"|'[^']*')|\s*=\s*""", lambda match: match[1] or "=", inner)):
        match = re.match(r"([A-Za-z_]\w*)=", token)
        name, value = (None, token) if match is None else (match[1], token[match.end() :])
        if not value or name in options or (name is None and options):
            raise InputError(f"options such as {example}", repr(text))
        try:
            parsed = _value(value)
        except ValueError:
            raise InputError(f"options such as {example}", f"{text!r}, with the value {value!r}") from None
        if name is None:
            values.append(parsed)
        else:
            options[name] = parsed
    return values, options


def _tokens(text: str) -> list[str]:
    """Split a text at commas and spaces that are not within brackets or quotes."""
    tokens, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in QUOTES:
            quote = sign
        elif sign in OPENING:
            depth += 1
        elif sign in CLOSING:
            depth -= 1
        elif depth == 0 and (sign == "," or sign.isspace()):
            tokens.append("")
            continue
        tokens[-1] += sign
    return [token for token in tokens if token]


def _value(token: str) -> Any:
    """Parse JSON, a Python literal, or a word without brackets, quotes and equals signs; else raise a `ValueError`."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(token)
        except (ValueError, SyntaxError):
            continue
    if re.search(r"[()\[\]{}\"'=]", token):
        raise ValueError(token)
    return {"inf": float("inf"), "-inf": float("-inf")}.get(token, token)
