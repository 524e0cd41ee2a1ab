"""Options that several commands share, and what their values stand for: devices, and classes of conditional flows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from mera._utils.errors import InputError, closest
from mera._utils.installation import tune_allocator
from mera._utils.run_records import is_run
from mera._utils.torch_modes import chosen_threads
from mera.cli.declared_options import assignments, value
from mera.data import Examples, class_numbers
from mera.flow.density import Density
from mera.graph.summary import count_parameters
from mera.train.run import RunFolder

tune_allocator()

Root = Annotated[Path | None, typer.Option(help="Folder of the run's data, if it was moved.", metavar="DIR")]
Download = Annotated[bool, typer.Option("--download", help="Download missing files.", rich_help_panel="Data")]
DataOptions = Annotated[
    Any,
    typer.Option(parser=assignments, metavar="NAME=VALUE ...", help="Options of the data set.", rich_help_panel="Data"),
]
Lattice = Annotated[
    Any, typer.Option("--L", parser=value, metavar="INT[,INT...]", help="Edge of another lattice, or all its edges.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of everything that is random.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: the accelerator if there is one.")]
Class = Annotated[str | None, typer.Option("--class", metavar="NAME|K", help="Class, for a conditional flow.")]


def choose_device(name: str) -> torch.device:
    """Return a device by name, a ValueError if it is not available on this machine."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # each process of a distributed run uses its own GPU
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError("a device that torch has here", f"{name!r}: {str(error).splitlines()[0][:100]}") from error
    return torch.device(name)


def set_threads(flow: Density) -> None:
    """Set the number of threads of torch as training does: one for a small flow, unless the user has set another."""
    torch.set_num_threads(chosen_threads(None, count_parameters(flow), flow.device))


def parse_classes(run: Path, flow: Density, text: str) -> list[int]:
    """The numbers of classes from their numbers or names, separated by commas."""
    classes = flow.context_encoder.classes
    if classes is None:
        raise InputError("no class for a flow without classes", repr(text))
    names = list(RunFolder(run).facts().get("classes") or []) if is_run(run) else []
    numbers = {str(number): number for number in range(classes)}
    numbers |= {name.lower(): number for number, name in enumerate(names)}
    numbers |= {name: number for number, name in enumerate(names)}
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word.lower() not in numbers:
            known = f", or one of {', '.join(names)}" if names else ""
            raise InputError(f"a class from 0 to {classes - 1}{known}", f"{word!r}{closest(word, names)}")
    return [numbers[word if word in numbers else word.lower()] for word in words]


def select_class(run: Path, flow: Any, label: str | int | None) -> tuple[Any, int | None]:
    """The flow of one class, and its number; the flow itself and None without a class."""
    if label is None:
        classes = flow.context_encoder.classes
        if flow.needs_context and classes is None:
            raise InputError("a flow without context, or with classes", "a flow whose context is floats")
        if flow.needs_context:
            raise InputError(f"--class, a number from 0 to {classes - 1} or a name, for a conditional flow", "none")
        return flow, None
    numbers = [label] if isinstance(label, int) else parse_classes(run, flow, label)
    if len(numbers) > 1:
        raise InputError("one class", repr(label))
    return flow.given(torch.tensor(numbers, device=flow.device)), numbers[0]


def class_indices(examples: Examples, number: int | None) -> Tensor:
    """The indices of the examples of a class, of all examples if the number is None."""
    if number is None:
        return torch.arange(len(examples))
    indices = (class_numbers(examples) == number).nonzero()[:, 0]
    if not len(indices):
        raise InputError(f"test examples of class {number}", "none")
    return indices
