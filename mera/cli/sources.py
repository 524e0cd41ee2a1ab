"""Flows, classes and data for commands: from runs, files, and the pretrained flows of the package; and devices."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from mera import data
from mera._utils.errors import InputError, closest
from mera._utils.installation import tune_allocator
from mera._utils.manifest import is_run
from mera.cli.terminal import sources
from mera.data import DataMissingError, DataSplits, Examples
from mera.data.fingerprint import fingerprint
from mera.flow.density import Density
from mera.flow.flow import Flow
from mera.graph.lattice import per_dimension
from mera.models import pretrained
from mera.models.saving import load
from mera.train import RunFolder

tune_allocator()

LEARNT_HELP = f"Folder of a run, or a flow of the package: {', '.join(pretrained())}."
SOURCE_HELP = "Folder of a run, a file that mera.save wrote, or a flow of the package: " + ", ".join(pretrained()) + "."
PHOTOGRAPHS = "photographs"
"""The trained flow of the package for photographs."""
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", autocompletion=sources, help=LEARNT_HELP)]


def choose_device(name: str) -> torch.device:
    """Return a device by name, and refuse one that this machine does not have."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # each process of a distributed run uses its own GPU
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError("a device that torch has here", f"{name!r}: {str(error).splitlines()[0][:100]}") from error
    return torch.device(name)


def load_flow(path: Path, device: str = "cpu", L: Any = None) -> Any:
    """Load a flow, as `mera.load` does, with other edges if they are not None."""
    flow = load(path)
    return (flow if L is None else flow.resized(shape_of(flow, L))).to(choose_device(device))


def shape_of(flow: Density, L: Any) -> tuple[int, ...]:
    """The edges of a lattice from the option --L: a number, all edges, or those of the flow if it is None."""
    lattice = flow.plan.input
    return lattice.shape if L is None else per_dimension(L, lattice.dim, "shape", 1)


def folder_of(path: Path) -> Path:
    """The folder for pictures of a flow: the run, the folder of the file, or the name of a pretrained flow."""
    return path.parent if path.is_file() else path


def learnt_fields(path: Path) -> bool:
    """Return whether a path is a run that learnt fields of floats, from examples or an action, not images."""
    return is_run(path) and RunFolder(path).learnt_fields()


# Classes


def parse_classes(run: Path, flow: Density, text: str) -> list[int]:
    """The numbers of classes from their numbers or names, separated by commas."""
    classes = flow.context_encoder.classes
    if classes is None:
        raise InputError("no class for a flow without classes", repr(text))
    names = list(RunFolder(run).facts().get("classes") or []) if is_run(run) else []
    numbers = {str(number): number for number in range(classes)} | {name: i for i, name in enumerate(names)}
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in numbers:
            known = f", or one of {', '.join(names)}" if names else ""
            raise InputError(f"a class from 0 to {classes - 1}{known}", f"{word!r}{closest(word, names)}")
    return [numbers[word] for word in words]


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


# Data


def examples_of(path: Path, flow: Flow, root: Path | None) -> Examples:
    """Load the test examples of the data set that a flow learnt; a `FileNotFoundError` if the data is missing."""
    card = None if path.is_file() or is_run(path) else pretrained().get(str(path))
    if card is None:
        return configured(RunFolder(path), flow.plan.input.event_shape, root, test_only=True).test
    options: dict[str, Any] = {"L": flow.plan.input.shape}
    if data.takes(card.data["name"], "train_size"):
        options["train_size"] = 1  # the test examples are enough
    return data.load(**card.data | options | ({} if root is None else {"root": root})).test


def configured(run: RunFolder, shape: Sequence[int], root: Path | None = None, test_only: bool = False) -> DataSplits:
    """Load the data of a run by its manifest; warn if they are not the data that it learnt.

    Args:
        run: the run.
        shape: the shape of an example.
        root: the folder of the data, if it was moved.
        test_only: whether only test examples are needed, so that few training examples are drawn.
    """
    facts = run.facts()
    if facts.get("action") is not None:
        learnt = f"{run.path}, which learnt the action {facts['action']}: mera measure {run.path}"
        raise InputError("a run that learnt from examples", learnt)
    source = dict(facts.get("source") or {})
    if not source:
        learnt = f"{run.path}, which learnt data that were passed from Python: evaluate and resume it there"
        raise InputError("a run whose manifest names its data", learnt)
    source |= ({} if root is None else {"root": str(root)}) | ({"L": shape[1:]} if "L" in source else {})
    name, place = source.pop("name"), source.get("root")
    same = tuple(shape) == tuple(facts["data"]["test"]["shape"])
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* files are not used")  # the run named them
            if same and test_only and data.takes(name, "train_size"):
                splits = data.as_splits(data.load(name, **source | {"train_size": 1}), shape)
                if fingerprint(splits.test) == facts["data"]["test"]:  # does not depend on the training examples
                    return splits
            splits = data.as_splits(data.load(name, **source), shape)
    except DataMissingError as error:
        raise DataMissingError(f"{error} The run learnt from {place}; --root names another place.") from error
    if same and test_only:
        try:
            run.compare({"data": facts["data"] | {"test": fingerprint(splits.test)}})
        except InputError as error:
            typer.echo(f"warning: {error}", err=True)
    return splits
