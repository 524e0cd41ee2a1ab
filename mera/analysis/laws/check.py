"""`check`: the laws that apply to an object, by its kind."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from packaging.requirements import Requirement
from torch import Tensor

from mera._utils.checks import check_shape
from mera._utils.errors import InputError, closest
from mera._utils.installation import VERSION
from mera._utils.random import fixed_seed
from mera._utils.run_records import is_run
from mera.analysis.laws.bijectors import check_bijector
from mera.analysis.laws.data import check_run, check_splits
from mera.analysis.laws.flows import check_flow, check_layout, check_prior
from mera.analysis.laws.report import CheckReport
from mera.bijectors import Bijector
from mera.bijectors.prior import Prior
from mera.data import DataSplits, as_splits, names
from mera.data import load as load_data
from mera.data.items import example_of
from mera.flow.density import Density
from mera.graph import Layout
from mera.models.saving import load, load_pretrained, pretrained
from mera.physics.action import ActionLike
from mera.physics.check_target import laws_of
from mera.physics.trajectories import is_differentiable
from mera.train.run import RunFolder

DISTRIBUTION = "mera-flow"
FOR_DEVELOPERS = {"benchmarks", "dev", "docs"}
"""The extras that users do not need."""


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
        return _machine_report()
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
        _check_action(subject, report, shape)
    else:
        expected = "a bijector, a layout, a flow, a prior, an action, a data set or a run to check"
        raise InputError(expected, f"{name} {str(subject)[:60]!r}")
    return report


def _check_path(path: Path) -> CheckReport:
    """Check a run and its flow, the flow of a file or of the package, or a registered data set."""
    report, name = CheckReport(str(path)), str(path)
    is_there = path.is_file() or is_run(path)  # commands write pictures into folders of such names
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
    """The bijector that a callable makes for events of a shape; None if it does not make bijectors."""
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
    if shape is None:
        if (item := next(iter(first), None)) is None:
            raise InputError("at least one example", "none")
        shape = tuple(example_of(item).shape)
    return as_splits(subject, shape)


def _check_action(action: ActionLike, report: CheckReport, shape: Sequence[int] | None) -> None:
    """Check what an action declares for fields of a shape (C, *shape); None for a lattice of 6 x 6."""
    channels = getattr(action, "channels", None) or 1
    event_shape = (channels, 6, 6) if shape is None else check_shape(shape, "shape", 2)
    parameters = action.parameters() if isinstance(action, torch.nn.Module) else iter(())
    like = next(parameters, torch.empty(0, dtype=torch.float64)).detach()
    with fixed_seed(0):
        for name, law in laws_of(event_shape, action, like).items():
            report.attempt(name, law)
    if not report.ok:
        return
    fields = torch.randn(2, *event_shape).to(like)
    if is_differentiable(action, fields):  # type: ignore[arg-type]
        report.add("the action has a gradient", True)
    else:
        report.skip("the action has a gradient", 'none: train with estimator="score", and sample without HMC')


def _machine_report() -> CheckReport:
    """Versions of the packages that mera needs, and devices; a missing package of an extra is not checked."""
    report = CheckReport(f"mera {VERSION}, Python {platform.python_version()}, {platform.platform()}")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    cores = f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    report.add("processor", True, cores)
    report.add("accelerators", True, ", ".join(devices) or "none")
    extras = sorted({*(metadata(DISTRIBUTION).get_all("Provides-Extra") or ())} - FOR_DEVELOPERS)
    for requirement in map(Requirement, requires(DISTRIBUTION) or ()):
        marker = requirement.marker
        extra = None if marker is None else next((e for e in extras if marker.evaluate({"extra": e})), "")
        if extra == "":
            continue
        name = f"{requirement.name} {requirement.specifier}"
        try:
            found = version(requirement.name)
            report.add(name, requirement.specifier.contains(found, prereleases=True), found)
        except PackageNotFoundError:
            missing = f"missing: pip install '{DISTRIBUTION}{'' if extra is None else f'[{extra}]'}'"
            report.add(name, False, missing) if extra is None else report.skip(name, missing)
    return report
