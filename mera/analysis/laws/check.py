"""`check`: the laws that apply to an object, by its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError, closest
from mera._utils.random import fixed_seed
from mera.analysis.laws.actions import check_action
from mera.analysis.laws.bijectors import check_bijector
from mera.analysis.laws.data import check_run, check_splits
from mera.analysis.laws.flows import check_flow, check_layout, check_prior
from mera.analysis.laws.machine import machine_report
from mera.analysis.laws.report import CheckReport
from mera.bijectors import Bijector
from mera.bijectors.prior import Prior
from mera.data import DataSplits, as_splits, names
from mera.data import load as load_data
from mera.data.items import example_of
from mera.flow.density import Density
from mera.graph import Layout
from mera.models.pretrained import pretrained
from mera.models.saving import load, load_pretrained
from mera.train.run import RunFolder


def check(subject: Any = None, shape: Sequence[int] | None = None) -> CheckReport:
    r"""Check the laws that apply to an object, with the same random numbers at each call.

    ========================  ==========================================================================================
    subject                   laws
    ========================  ==========================================================================================
    a bijector                the inverse, the log-det against the Jacobian, opposite log-dets, independent events, a
                              gradient for every parameter; in one or two variables, that a density integrates to 1
    a factory of bijectors    the same, for the bijector that it makes for events of shape `shape`
    a layout, a flow          the same, and cones: nothing else changes, and both directions agree
    a prior                   the density integrates to 1 over its support
    an action                 finite, bounded from below, and what it declares: channels, even, compact, density
    a data set, an array      shapes, dtypes, finite values, labels; no test example among the training examples
    a run, by its folder      files, checkpoints, metrics, finite weights; then its flow
    a file of `mera.save`     its flow
    a name                    the trained flow of the package, or the data set, of that name
    nothing                   versions of the packages that mera needs, and devices, for bug reports
    ========================  ==========================================================================================

    Args:
        subject: the object; None for this machine.
        shape: for an action the shape (C, *shape) of a field, for a factory the shape of an event, for an array the
            shape of an example; None for a usual one.

    Returns:
        A report with `ok`, `table()` and `raise_if_failed()`.

    Raises:
        ValueError: if no laws are known for the object.

    >>> from mera import bijectors
    >>> report = check(bijectors.named("coupling", {"hidden": (4,)})((1, 2, 2)))
    >>> report.ok, len(report.laws)
    (True, 9)
    """
    with torch.inference_mode(False), torch.enable_grad(), fixed_seed(0):
        return _check(subject, None if shape is None else tuple(shape))


def _check(subject: Any, shape: tuple[int, ...] | None) -> CheckReport:
    """Choose the laws by the kind of the object."""
    if subject is None:
        return machine_report()
    name = type(subject).__name__
    if isinstance(subject, (str, PathLike)):
        return _check_path(Path(subject))
    if isinstance(subject, RunFolder):
        return _check_path(subject.path)
    report = CheckReport(name)
    if isinstance(subject, Density):
        check_flow(subject, report)
    elif isinstance(subject, Bijector):
        check_bijector(subject, report)
    elif isinstance(subject, Layout):
        check_layout(subject, report)
    elif isinstance(subject, Prior):
        check_prior(subject, report)
    elif isinstance(subject, (DataSplits, Tensor, np.ndarray, tuple, list, Mapping)) or _is_data_set(subject):
        check_splits(_splits(subject, shape), report)
    elif callable(subject) and (made := _made(subject, shape)) is not None:
        return _check(made, None)
    elif callable(subject):
        check_action(subject, report, shape)
    else:
        expected = "a bijector, a layout, a flow, a prior, an action, a data set or a run to check"
        raise InputError(expected, f"{name} {str(subject)[:60]!r}")
    return report


def _check_path(path: Path) -> CheckReport:
    """Check a run and its flow, the flow of a file or of the package, or a registered data set."""
    report, name = CheckReport(str(path)), str(path)
    is_there = path.is_file() or (path / "config.json").is_file()  # commands write pictures into folders of such names
    if not is_there and name in names():
        report = _check(load_data(name), None)
        if name in pretrained():  # a flow has the name of the data that it learnt
            check_flow(load_pretrained(name), report)
        return report
    if not path.exists() and name not in pretrained():
        expected = "a folder of a run, a file, or the name of a trained flow or a data set"
        raise InputError(expected, f"{name!r}{closest(name, [*pretrained(), *names()])}")
    is_pretrained = not is_there and name in pretrained()
    flow: Any
    if is_pretrained or path.is_file():
        flow = load_pretrained(name) if is_pretrained else load(path)
    else:
        flow = check_run(RunFolder(path), report)
    if flow is not None:
        check_flow(flow, report)
    return report


def _is_data_set(subject: Any) -> bool:
    """Whether an object can be indexed or iterated, as data sets can."""
    return not isinstance(subject, torch.nn.Module) and any(
        hasattr(subject, name) for name in ("__getitem__", "__iter__")
    )


def _made(subject: Callable[..., Any], shape: tuple[int, ...] | None) -> Bijector | None:
    """The bijector that a callable makes for events of a shape; None if it is no factory of bijectors."""
    if shape is None or isinstance(subject, torch.nn.Module):
        return None
    try:
        made = subject(shape)
    except (TypeError, ValueError, AttributeError, RuntimeError):
        return None
    return made if isinstance(made, Bijector) else None


def _splits(subject: Any, shape: tuple[int, ...] | None) -> DataSplits:
    """The data as training and test examples; the shape of an array's examples is its own if `shape` is None."""
    if isinstance(subject, DataSplits):
        return subject
    first = subject.get("train", subject) if isinstance(subject, Mapping) else subject
    first = first[0] if isinstance(first, (tuple, list)) and len(first) == 2 else first
    if shape is None and isinstance(first, (Tensor, np.ndarray)):
        shape = tuple(first.shape[1:])
    if shape is None:
        if hasattr(first, "__getitem__") and hasattr(first, "__len__"):
            item = first[0] if len(first) else None
        else:
            item = next(iter(first), None) if hasattr(first, "__iter__") else None
        if item is None:
            raise InputError("at least one example", "none")
        shape = tuple(example_of(item).shape)
    return as_splits(subject, shape)
