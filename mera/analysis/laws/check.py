"""`check`: the laws that apply to an object, by its kind."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement
from torch import Tensor

from mera._utils.checks import check_shape
from mera._utils.errors import InputError, closest
from mera._utils.installation import VERSION
from mera._utils.manifest import is_run
from mera._utils.random import fixed_seed
from mera.analysis.laws.bijections import check_bijector, check_flow
from mera.analysis.laws.report import CheckReport
from mera.bijectors import Bijector
from mera.data import DataSplits, Examples, as_splits, names
from mera.data import load as load_data
from mera.data.dataset import ARRAYS
from mera.data.examples import Fields, misread_floats
from mera.data.items import check_example, example_of
from mera.flow import Density, Flow
from mera.graph import Layout
from mera.models.saving import load, pretrained
from mera.physics.action import ActionLike, is_differentiable
from mera.physics.target import Target, laws_of
from mera.train.run import RunFolder

DISTRIBUTION = "mera-flow"
FOR_DEVELOPERS = {"benchmarks", "dev", "docs"}
"""The extras that users do not need."""
MAX_EXAMPLES = 200
"""The number of examples of each split that are read."""


@torch.inference_mode(False)
@torch.enable_grad()
@fixed_seed(0)
def check(subject: Any = None, shape: Sequence[int] | None = None) -> CheckReport:
    r"""Check the laws that apply to an object, with the same random numbers at each call.

    ========================  ==========================================================================================
    subject                   laws
    ========================  ==========================================================================================
    a bijector                the inverse, the log-det against the Jacobian, opposite log-dets, independent events, a
                              gradient for every parameter
    a layout, a flow          the same, and cones: nothing else changes, and both directions agree
    an action                 finite, bounded from below, and what it declares: channels, even, compact, density
    a data set, an array      shapes, dtypes, finite values, labels; no test example among the training examples
    a run, by its folder      files, checkpoints, metrics, finite weights; then its flow
    a file of `mera.save`     its flow
    a name                    the trained flow of the package, or the data set, of that name
    nothing                   versions of the packages that mera needs, and devices, for bug reports
    ========================  ==========================================================================================

    Args:
        subject: the object; None for this machine.
        shape: for an action the shape (C, *shape) of a field, for an array the shape of an example; None for a usual
            one.

    Returns:
        A report with `ok` and `table()`; `assert report.ok, report` in a test.

    Raises:
        ValueError: if no laws are known for the object.

    >>> from mera import bijectors
    >>> report = check(bijectors.named("coupling", {"hidden": (4,)})((1, 2, 2)))
    >>> report.ok, len(report.laws)
    (True, 9)
    """
    if subject is None:
        return _machine_report()
    name = type(subject).__name__
    if isinstance(subject, (str, PathLike, RunFolder)):
        return _check_path(subject.path if isinstance(subject, RunFolder) else Path(subject))
    report = CheckReport(name)
    if isinstance(subject, Density):
        check_flow(subject, report)
    elif isinstance(subject, Bijector):
        check_bijector(subject, report)
    elif isinstance(subject, Layout):
        flow = Flow(subject)
        report.add("the layout compiles to a plan", True, f"{len(flow.plan.steps)} steps")
        check_flow(flow, report)
    elif isinstance(subject, (DataSplits, Fields)) or (
        not isinstance(subject, torch.nn.Module) and (hasattr(subject, "__getitem__") or hasattr(subject, "__iter__"))
    ):
        _check_splits(_splits(subject, shape), report)
    elif isinstance(subject, Target):
        _check_action(subject.action, report, subject.shape)
    elif callable(subject) and not isinstance(subject, type):
        _check_action(subject, report, shape)
    else:
        expected = "a bijector, not its class, a layout, a flow, an action, a data set or a run to check"
        raise InputError(expected, f"{name} {str(subject)[:60]!r}")
    return report


def _check_path(path: Path) -> CheckReport:
    """Check a run and its flow, the flow of a file or of the package, or a registered data set."""
    report, name = CheckReport(str(path)), str(path)
    known = [*pretrained(), *names()]
    flow: Any = None
    if is_run(path) or (path.is_dir() and name not in known):  # commands write pictures into folders of such names
        flow = _check_run(RunFolder(path), report)
    elif not path.is_file() and name not in known:
        expected = "a folder of a run, a file, or the name of a trained flow or a data set"
        raise InputError(expected, f"{name!r}{closest(name, known)}")
    else:  # a flow has the name of the data that it learnt
        is_array = name.endswith(ARRAYS)
        if is_array or (name in names() and not path.is_file()):
            _check_splits(load_data(name), report)
        if not is_array and (name in pretrained() or path.is_file()):
            flow = load(path)
    if flow is not None:
        check_flow(flow, report)
    return report


def _splits(subject: Any, shape: Sequence[int] | None) -> DataSplits:
    """The data as training and test examples; the shape of an array's examples is its own if `shape` is None."""
    if isinstance(subject, DataSplits):
        return subject
    first = subject.data if isinstance(subject, Fields) else subject
    first = first.get("train", first) if isinstance(first, Mapping) else first
    first = first[0] if isinstance(first, (tuple, list)) and len(first) == 2 else first
    if shape is None:
        if (item := next(iter(first), None)) is None:
            raise InputError("at least one example", "none")
        shape = example_of(item).shape
    return as_splits(subject, tuple(shape))


def _check_splits(splits: DataSplits, report: CheckReport) -> None:
    """Check training and test examples: one shape and dtype, labels of both splits, no common examples."""
    parts = {"training": splits.train, "test": splits.test}
    read: dict[str, list[Tensor]] = {name: [] for name in parts}
    for name, examples in parts.items():
        law = partial(_read, examples, read[name])
        report.attempt(f"{name} examples can be read, are finite and of one shape", law)
    if not report.ok:
        return
    kinds = [(tuple(found[0].shape), found[0].dtype) for found in read.values()]
    report.add("both splits have one shape and dtype", kinds[0] == kinds[1], str(kinds[0]))
    if kinds[0][1].is_floating_point and not splits.are_fields:
        misread = misread_floats(read["training"], kinds[0][0])
        report.add("floats are fields, neither pixels nor whole numbers", not misread, misread)
    rows = [{x.detach().contiguous().view(torch.uint8).numpy().tobytes() for x in found} for found in read.values()]
    common = len(rows[0] & rows[1])
    report.add("no test example among the training examples read", not common, f"{common} in common")
    for name, examples in parts.items():
        contexts = getattr(examples, "labels", {}).get("context")
        if contexts is not None:
            report.add(f"contexts of the {name} examples are finite", bool(contexts.isfinite().all()))
    classes = [getattr(examples, "labels", {}).get("class") for examples in parts.values()]
    known = [set(values.unique().tolist()) for values in classes if values is not None]
    if len(known) == 2:
        unknown = known[1] - known[0]
        report.add("every class of the test is in the training", not unknown, f"missing: {sorted(unknown)[:10]}")


def _read(examples: Examples, read: list[Tensor]) -> str:
    """Read examples that are spread over a split."""
    total = len(examples)
    stride = max(1, total // MAX_EXAMPLES)
    for index in range(min(MAX_EXAMPLES, total)):
        read.append(examples[index * stride].cpu())
        check_example(read[-1], read[0].shape)
        if read[-1].dtype != read[0].dtype:
            raise InputError(f"examples of {read[0].dtype}, as the first one", str(read[-1].dtype))
    if not read:
        raise InputError("at least one example", "none")
    low, high = min(x.min().item() for x in read), max(x.max().item() for x in read)
    return f"{len(read)} of {total}, values {low:g} to {high:g}"


def _check_run(run: RunFolder, report: CheckReport) -> Any:
    """Check that the files of a run can be read; return its flow, None if it cannot be loaded."""
    flow: list[Any] = []
    report.attempt("the manifest can be read", lambda: f"model {run.facts().get('model', 'a layout')}")
    report.attempt("the flow can be loaded, with finite weights", lambda: flow.append(load(run.path)))
    report.attempt(
        "checkpoints can be read", lambda: f"steps {', '.join(str(run.read(n)['step']) for n in run.steps())}"
    )
    report.attempt("metrics can be read, and end at the last checkpoint", partial(_read_metrics, run))
    return flow[0] if flow else None


def _read_metrics(run: RunFolder) -> str:
    """Read the metrics, and refuse those that are later than the last checkpoint."""
    lines, last = run.metrics(), max(run.steps(), default=-1)
    if (step := lines[-1]["step"] if lines else 0) > last:
        got = "none" if last < 0 else f"step {last}: a checkpoint was deleted, or the run was killed before it"
        raise InputError(f"a checkpoint of step {step}", got, where=str(run.checkpoints))
    return f"{len(lines)} evaluations"


def _check_action(action: ActionLike, report: CheckReport, shape: Sequence[int] | None) -> None:
    """Check what an action declares for fields of a shape (C, *shape); None for a lattice of 6 x 6."""
    channels = getattr(action, "channels", None) or 1
    event_shape = (channels, 6, 6) if shape is None else check_shape(shape, "shape", 2)
    parameters = action.parameters() if isinstance(action, torch.nn.Module) else iter(())
    like = next(parameters, torch.empty(0, dtype=torch.float64)).detach()
    for name, law in laws_of(event_shape, action, like).items():
        report.attempt(name, law)
    if not report.ok:
        return
    fields = torch.randn(2, *event_shape).to(like)
    if is_differentiable(action, fields):  # type: ignore[arg-type]
        report.add("the action has a gradient", True)
    else:
        report.skip("the action has a gradient", "none: fit and Hamiltonian Monte Carlo refuse it")


def _machine_report() -> CheckReport:
    """Versions of the packages that mera needs, and devices; a missing package of an extra is not checked."""
    report = CheckReport(f"mera {VERSION}, Python {platform.python_version()}, {platform.platform()}")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    cores = f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    report.add("processor", True, cores)
    report.add("accelerators", True, ", ".join(devices) or "none")
    extras = ["", *sorted({*(metadata(DISTRIBUTION).get_all("Provides-Extra") or ())} - FOR_DEVELOPERS)]
    for requirement in map(Requirement, requires(DISTRIBUTION) or ()):
        marker = requirement.marker
        extra = next((e for e in extras if marker is None or marker.evaluate({"extra": e})), None)
        if extra is None:
            continue
        name = f"{requirement.name} {requirement.specifier}"
        try:
            found = version(requirement.name)
            report.add(name, requirement.specifier.contains(found, prereleases=True), found)
        except PackageNotFoundError:
            missing = f"missing: pip install '{DISTRIBUTION}{f'[{extra}]' if extra else ''}'"
            report.skip(name, missing) if extra else report.add(name, False, missing)
    return report
