"""Flows and data for commands: from runs, files, and the pretrained flows of the package."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import typer

from mera import data
from mera._utils.errors import InputError
from mera._utils.files import make_folder
from mera._utils.random import fixed_seed
from mera._utils.run_records import is_run
from mera.analysis.drawing.images import png_path
from mera.cli.common import choose_device
from mera.data import DataMissingError, DataSplits, Examples
from mera.data.fingerprint import fingerprint
from mera.data.picture_files import SUFFIXES, is_zarr
from mera.data.sources import FILES
from mera.flow.flow import Flow
from mera.models import Card, pretrained
from mera.models.saving import load
from mera.train.run import RunFolder

LEARNT_HELP = f"Folder of a run, or a flow of the package: {', '.join(pretrained())}."
SOURCE_HELP = "Folder of a run, a file that mera.save wrote, or a flow of the package: " + ", ".join(pretrained()) + "."

PHOTOGRAPHS = "photographs"
"""The trained flow of the package for photographs."""
PICTURES_HELP = f"{SOURCE_HELP} If left out, {PHOTOGRAPHS}."


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


def flow_and_pictures(
    paths: Sequence[Path], device: str, least: int = 1, fields: bool = False, L: Any = None
) -> tuple[Path, Flow, Sequence[Path]]:
    """From pictures, with or without a run before them: the run, its flow on two dimensions, and the pictures.

    The first path is a run if there are more than `least` and it has no suffix of a picture or an array.
    """
    has_run = len(paths) > least and not is_picture(paths[0])
    run, pictures = (paths[0], paths[1:]) if has_run else (Path(PHOTOGRAPHS), paths)
    if len(pictures) < least:
        raise typer.BadParameter(f"Expected {least} pictures or more, and a run before them or none")
    for picture in pictures:
        if least and not picture.exists():
            raise InputError(f"a picture in {picture}", "no such file")
    flow = load_flow(run, L)
    if not isinstance(flow, Flow) or flow.plan.input.dim != 2:
        raise InputError("a run of a Flow on two dimensions", f"a {type(flow).__name__} in {run}")
    if not fields and learnt_fields(run):
        raise InputError("a run that learnt images", f"fields in {run}")
    return run, flow.to(choose_device(device)), pictures


def is_picture(path: Path) -> bool:
    """Whether a path is that of a picture or an array, by its suffix or as a folder of zarr, and not that of a flow."""
    return path.suffix.lower() in SUFFIXES.union(FILES) or is_zarr(path)


def beside(
    pictures: Sequence[Path], endings: Sequence[str], out: Path | None = None, inputs: Sequence[Path] = ()
) -> list[Path]:
    """The PNGs to write for pictures: PICTURE_ending.png beside each, or `out` for a single one.

    They are checked before the work begins, and files that will be replaced are named.

    Raises:
        ValueError: if there are several pictures and `out`, if `out` is no PNG, or if two results, or a result and a
            picture or another of the `inputs`, would have one path.
    """
    if out is not None and len(pictures) > 1:
        raise InputError("one picture with --out", f"{len(pictures)} pictures")
    names = zip(pictures, endings, strict=True)
    found = [picture.with_name(f"{picture.stem}_{ending}.png") for picture, ending in names] if out is None else [out]
    paths, read = [png_path(path) for path in found], {path.resolve() for path in (*pictures, *inputs)}
    for number, path in enumerate(paths):
        if path.resolve() in read or path in paths[:number]:
            raise InputError("results with names of their own, by --out or in calls of their own", f"{path} twice")
        make_folder(path.parent)
        if path.exists():
            typer.echo(f"{path}: will be replaced", err=True)
    return paths


def folder_of(path: Path) -> Path:
    """The folder for pictures of a flow: the run, the folder of the file, or the name of a pretrained flow."""
    return path.parent if path.is_file() else path


def examples_of(path: Path, flow: Flow, root: Path | None) -> Examples:
    """Load the test examples of the data set that a flow learnt; a `FileNotFoundError` if the data is missing."""
    card = _card(path)
    if card is None:
        return configured(RunFolder(path), flow.plan.input.event_shape, root, test_only=True).test
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
    if card is None and RunFolder(path).facts().get("source") is None and not learnt_fields(path):
        typer.echo(f"{path}: its data came from Python; using samples of the flow instead", err=True)
        return None
    try:
        if card is not None and card.data["name"] not in data.names():
            raise DataMissingError(f"Expected the data set {card.data['name']}; got none of that name")
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
    return RunFolder(path).facts().get("action") if is_run(path) else None


def learnt_fields(path: Path) -> bool:
    """Whether a path is a run that learnt floating-point fields, from examples or an action, rather than images."""
    return is_run(path) and RunFolder(path).learnt_fields()


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
    except data.DataMissingError as error:
        message = f"{error} The run learnt from {place}; --root names another place."
        raise data.DataMissingError(message) from error
    if same and test_only:
        try:
            run.compare({"data": facts["data"] | {"test": fingerprint(splits.test)}})
        except InputError as error:
            typer.echo(f"warning: {error}", err=True)
    return splits
