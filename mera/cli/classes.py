"""Classes of conditional flows, by number or by name, for commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from mera._utils.errors import InputError, closest
from mera.data import DataSplits, Examples
from mera.data.dataset import class_numbers
from mera.flow.density import Density
from mera.train.run import RunFolder

Class = Annotated[str | None, typer.Option("--class", metavar="NAME|K", help="Class, for a conditional flow.")]


def numbers_of(run: Path, flow: Density, text: str) -> list[int]:
    """The numbers of classes from their numbers or names, separated by commas.

    Args:
        run: the folder of the run, whose configuration has the names; a file or a pretrained flow has none.
        flow: the flow.
        text: the numbers or names.

    Raises:
        ValueError: if the flow has no classes, or no class of that number or name.
    """
    classes = flow.context_encoder.classes
    if classes is None:
        raise InputError("no class for a flow without classes", repr(text))
    names = list(RunFolder(run).config().get("classes") or []) if (run / "config.json").exists() else []
    lower, numbers = [name.lower() for name in names], []
    for word in (part.strip() for part in text.split(",")):
        if word in names:
            numbers.append(names.index(word))
        elif word.lower() in lower:
            numbers.append(lower.index(word.lower()))
        elif word.isdecimal() and int(word) < classes:
            numbers.append(int(word))
        else:
            known = f", or one of {', '.join(names)}" if names else ""
            raise InputError(f"a class from 0 to {classes - 1}{known}", f"{word!r}{closest(word, names)}")
    return numbers


def given_class(run: Path, flow: Any, label: str | int | None) -> tuple[Any, int | None]:
    """The flow of one class, and its number; the flow itself and None without a class.

    Args:
        run: the folder of the run.
        flow: the flow.
        label: the number of the class; or text, with its name or its number.

    Raises:
        ValueError: if the flow is conditional and no class is given, or the text does not name exactly one class.
    """
    if label is None:
        classes = flow.context_encoder.classes
        if flow.needs_context and classes is None:
            raise InputError("a flow without context, or with classes", "a flow whose context is floats")
        if flow.needs_context:
            raise InputError(f"--class, a number from 0 to {classes - 1} or a name, for a conditional flow", "none")
        return flow, None
    numbers = [label] if isinstance(label, int) else numbers_of(run, flow, label)
    if len(numbers) > 1:
        raise InputError("one class", repr(label))
    return flow.given(torch.tensor(numbers, device=flow.device)), numbers[0]


def of_class(examples: Examples, number: int | None) -> Tensor:
    """The indices of the examples of a class, of all examples if the number is None."""
    if number is None:
        return torch.arange(len(examples))
    indices = (class_numbers(examples) == number).nonzero()[:, 0]
    if not len(indices):
        raise InputError(f"test examples of class {number}", "none")
    return indices


def count_classes(images: DataSplits) -> int:
    """The number of classes in training images."""
    return int(class_numbers(images.train).max()) + 1
