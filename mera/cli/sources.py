"""Flows and data for commands: from runs, files, and the pretrained flows of the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import length_hint
from pathlib import Path
from typing import Any

import torch
import typer

from mera import data
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.data import DataMissingError, DataSplits, Examples
from mera.data.sources import Source
from mera.flow.flow import Flow
from mera.graph.resize import period
from mera.models import Card, pretrained
from mera.models.saving import load, rebuild_empty
from mera.train.run import RunFolder
from mera.train.settings import Settings

LEARNT_HELP = f"Folder of a run, or a flow of the package: {', '.join(pretrained())}."
SOURCE_HELP = "Folder of a run, a file that mera.save wrote, or a flow of the package: " + ", ".join(pretrained()) + "."

PHOTOGRAPHS = "photographs"
"""The trained flow of the package for photographs."""
PICTURES_HELP = f"{SOURCE_HELP} If left out, {PHOTOGRAPHS}."


def is_run(path: Path) -> bool:
    """Whether a path is the folder of a run."""
    return (path / "config.json").is_file()


def _card(path: Path) -> Card | None:
    """The card of a pretrained flow; None if the path is not its name, or is a file or a run."""
    return None if path.is_file() or is_run(path) else pretrained().get(str(path))


def load_flow(path: Path, L: Any = None, levels: int | None = None) -> Any:
    """Load a flow, as `mera.load` does, with other edges or another number of levels if they are not None."""
    flow = load(path)
    if L is None and levels is None:
        return flow
    shape = flow.plan.input.shape if L is None else L if isinstance(L, tuple) else (L,) * flow.plan.input.dim
    return flow.resized(shape, levels)


def split_pictures(paths: Sequence[Path], n: int) -> tuple[Path, Flow, Sequence[Path]]:
    """From `n` pictures, with or without a run before them: the run, its flow on two dimensions, and the pictures."""
    if not n <= len(paths) <= n + 1:
        raise typer.BadParameter(f"Expected {n} pictures, and a run before them or none; got {len(paths)} paths")
    run = paths[0] if len(paths) > n else Path(PHOTOGRAPHS)
    flow = load_flow(run)
    if not isinstance(flow, Flow) or flow.plan.input.dim != 2:
        raise InputError("a run of a Flow on two dimensions", f"a {type(flow).__name__} in {run}")
    return run, flow, paths[-n:]


def fitted(source: Source, flow: Flow) -> Source:
    """The image, reflected at its last row and column so far that it fills the patches of the coarsest level."""
    found = source.reflected(period(flow.plan))
    if found is not source:
        height, width = found.shape[1:]
        typer.echo(f"{source.name}: reflected at its lower and right border to {height} x {width} pixels", err=True)
    return found


def folder_of(path: Path) -> Path:
    """The folder for pictures of a flow: the run, the folder of the file, or the name of a pretrained flow."""
    return path.parent if path.is_file() else path


def examples_of(path: Path, flow: Flow, root: Path | None) -> Examples:
    """Load the test examples of the data set that a flow learnt; a `FileNotFoundError` if the data is missing."""
    card = _card(path)
    if card is None:
        return configured(RunFolder(path), flow.plan.input.event_shape, root)[0].test
    options: dict[str, Any] = {"L": flow.plan.input.shape}
    if data.takes(card.data["name"], "train_size"):
        options["train_size"] = 1  # the test examples are enough
    return data.load(**card.data | options | ({} if root is None else {"root": root})).test


def known_examples(path: Path, flow: Flow, root: Path | None) -> Examples | None:
    """Load the test examples that a flow learnt, see `examples_of`; if there are none, print why and return None."""
    if path.is_file():
        typer.echo(f"{path}: a file does not name its data; using samples of the flow instead", err=True)
        return None
    card = _card(path)
    if card is None and not {"data", "action"} & set(RunFolder(path).config()) and not learnt_fields(path):
        typer.echo(f"{path}: its data came from Python; using samples of the flow instead", err=True)
        return None
    try:
        return examples_of(path, flow, root)
    except DataMissingError:
        if card is None:
            raise
        typer.echo(f"{path}: no data set found (--root names its folder); using samples of the flow instead", err=True)
        return None


def samples_of(flow: Flow, n: int) -> torch.Tensor:
    """Samples of a flow as images, (n, C, *shape), the same in each call."""
    with fixed_seed(0):
        return torch.cat([flow.to_images(flow.sample(min(100, n - i))) for i in range(0, n, 100)])


def learnt_action(path: Path) -> str | None:
    """The text of the action that a run learnt; None if it learnt from examples, or if the path is not a run."""
    return RunFolder(path).config().get("action") if is_run(path) else None


def learnt_fields(path: Path) -> bool:
    """Whether a path is a run that learnt floating-point fields, from examples or an action, rather than images."""
    return is_run(path) and RunFolder(path).learnt_fields()


def configured(run: RunFolder, shape: Sequence[int], root: Path | None = None) -> tuple[DataSplits, Settings]:
    """Load the data and the settings of a run from its configuration."""
    with _reading(run) as config:
        if config.get("action") is not None:
            learnt = f"{run.path}, which learnt the action {config['action']}: mera measure {run.path}"
            raise InputError("a run that learnt from examples", learnt)
        if "data" not in config:
            learnt = f"{run.path}, which learnt data that were passed from Python: evaluate and resume it there"
            raise InputError("a run whose configuration names its data", learnt)
        source = config["data"] | ({} if root is None else {"root": str(root)})
        source |= {"L": shape[1:]} if "L" in source else {}
        name = source.pop("name")
        settings = Settings(**config["settings"])
    try:  # outside of the context above: an error in the function that loads the data is not one of the configuration
        splits = data.as_splits(data.load(name, **source), shape)
    except data.DataMissingError as error:
        place = f"The run learnt from {config['data'].get('root')}; --root names another place."
        raise data.DataMissingError(f"{error} {place}") from error
    sizes = [length_hint(splits.train), length_hint(splits.test)]
    if config.get("examples", sizes) != sizes:
        texts = [f"{train:,} training and {test:,} test examples" for train, test in (config["examples"], sizes)]
        typer.echo(f"warning: {run.path} learnt from {texts[0]}; here are {texts[1]}", err=True)
    return splits, settings


def configured_flow(run: RunFolder) -> Any:
    """Build the flow of a run from its configuration, with new weights."""
    with _reading(run) as config:
        return rebuild_empty(config)


@contextmanager
def _reading(run: RunFolder) -> Iterator[dict[str, Any]]:
    """Yield the configuration of a run; missing or invalid entries raise a `ValueError` within the context."""
    try:
        yield run.config()
    except (KeyError, TypeError, AttributeError) as error:
        expected = f"model, data and settings of a run in {run.path}"
        raise InputError(expected, f"a configuration with {error!r}") from error
