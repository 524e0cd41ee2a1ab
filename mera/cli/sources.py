"""Where the flows and the data of commands come from: runs, files, and the trained flows of the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import typer

from mera import data
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.data import DataMissingError, DataSplits, Examples
from mera.flow import Flow
from mera.io.flows import load, load_pretrained, rebuild_empty
from mera.models import Card, pretrained
from mera.train.run import RunFolder
from mera.train.settings import Settings

LEARNT_HELP = f"Folder of a run, or a flow of the package: {', '.join(pretrained())}."
SOURCE_HELP = "Folder of a run, a file that mera.save wrote, or a flow of the package: " + ", ".join(pretrained()) + "."


def _card(path: Path) -> Card | None:
    """The card of a flow of the package, if a path is its name; a file or a run of this path comes first."""
    return None if path.is_file() or (path / "config.json").exists() else pretrained().get(str(path))


def load_flow(path: Path) -> Any:
    """The flow of a run, of a file, or of the package.

    Args:
        path: the folder of a run, a file that `mera.save` wrote, or the name of a trained flow of the package.
    """
    if _card(path) is not None:
        return load_pretrained(str(path))
    return load(path) if path.is_file() else RunFolder(path).flow()


def folder_of(path: Path) -> Path:
    """Where the pictures of a flow go: the folder of a run, the folder of a file, or a folder of the name of a flow.

    Args:
        path: see `load_flow`.
    """
    return path.parent if path.is_file() else path


def examples_of(path: Path, flow: Flow, root: Path | None) -> Examples:
    """The test examples of what a flow learnt.

    Args:
        path: the folder of a run, or the name of a trained flow of the package.
        flow: the flow.
        root: the folder of the data, if it is not where it was.

    Raises:
        FileNotFoundError: if the data is not there.
    """
    card = _card(path)
    if card is None:
        return configured(RunFolder(path), flow.plan.input.event_shape, root)[0].test
    options = {"train_size": 1} if data.takes(card.data["name"], "train_size") else {}  # the test examples are enough
    return data.load(**card.data | options | ({} if root is None else {"root": root})).test


def images_of(path: Path, flow: Flow, root: Path | None, n: int) -> torch.Tensor:
    """The first test images of what a flow learnt; samples of the flow if it is a file, or its data is not here.

    Args:
        path: see `load_flow`.
        flow: the flow.
        root: the folder of the data, if it is not where it was.
        n: how many images.
    """
    if not path.is_file():
        try:
            return data.first(examples_of(path, flow, root), n)
        except DataMissingError:
            if _card(path) is None:
                raise
            typer.echo(f"{path}: its data is not here, --root says where; samples of the flow take its place", err=True)
    with fixed_seed(0):
        return torch.cat([flow.to_images(flow.sample(min(100, n - i))) for i in range(0, n, 100)])


def learnt_action(run: RunFolder) -> str | None:
    """The action that a run learnt, as its configuration names it; None if the run learnt from examples.

    Args:
        run: the folder of the run.
    """
    return run.config().get("action")


def learnt_fields(path: Path) -> bool:
    """Whether a path is a run that learnt fields of floats, from examples or an action, rather than images.

    Args:
        path: the folder of a run, a file, or a name.
    """
    return path.is_dir() and RunFolder(path).learnt_fields()


def configured(run: RunFolder, shape: Sequence[int], root: Path | None = None) -> tuple[DataSplits, Settings]:
    """The data and the settings of a run, from its configuration.

    Args:
        run: the folder of the run.
        shape: the shape (C, *sites) of an example of the flow.
        root: the folder of the data, if it is not where it was when the run began.

    Raises:
        ValueError: if the configuration lacks the data or the settings, or they are invalid.
        FileNotFoundError: if the data is not where the configuration or `root` says.
    """
    with _reading(run) as config:
        if config.get("action") is not None:
            raise InputError(
                "a run that learnt from examples",
                f"{run.path}, which learnt the action {config['action']}: mera measure {run.path}",
            )
        if "data" not in config:
            raise InputError(
                "a run whose configuration names its data",
                f"{run.path}, which learnt data that were passed from Python: evaluate and resume it there",
            )
        source = config["data"] | ({} if root is None else {"root": str(root)})
        try:
            splits = data.as_splits(data.load(**source), shape)
        except data.DataMissingError as error:
            place = f"The run learnt from {config['data'].get('root')}; --root names another place."
            raise data.DataMissingError(f"{error} {place}") from error
        sizes = [len(splits.train), len(splits.test)]
        if config.get("examples", sizes) != sizes:
            texts = [f"{train:,} training and {test:,} test examples" for train, test in (config["examples"], sizes)]
            typer.echo(f"warning: {run.path} learnt from {texts[0]}; here are {texts[1]}", err=True)
        return splits, Settings(**config["settings"])


def configured_flow(run: RunFolder) -> Any:
    """The flow of a run with new weights, from the configuration of the run; no file of weights is read.

    Args:
        run: the folder of the run.

    Raises:
        ValueError: if the configuration lacks the model or its options, or they are invalid.
    """
    with _reading(run) as config:
        return rebuild_empty(config)


@contextmanager
def _reading(run: RunFolder) -> Iterator[dict[str, Any]]:
    """A context with the configuration of a run, in which missing or invalid entries raise a `ValueError`."""
    try:
        yield run.config()
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"model, data and settings of a run in {run.path}", f"a configuration with {error!r}"
        ) from error
