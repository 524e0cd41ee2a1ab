"""The laws of data sets."""

from __future__ import annotations

from functools import partial
from operator import length_hint
from typing import Any

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.analysis.laws.report import CheckReport
from mera.data import DataSplits, Examples
from mera.data.items import check_example
from mera.models.saving import load
from mera.train.run import RunFolder

MAX_EXAMPLES = 200
"""The number of examples of each split that are read."""


def check_splits(splits: DataSplits, report: CheckReport) -> None:
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
    """Read examples that are spread over a split, of a stream its first ones."""
    total = length_hint(examples, MAX_EXAMPLES)
    stride = 1 if getattr(examples, "in_order", False) else max(1, total // MAX_EXAMPLES)
    for index in range(min(MAX_EXAMPLES, total)):
        read.append(examples[index * stride].cpu())
        check_example(read[-1], read[0].shape)
        if read[-1].dtype != read[0].dtype:
            raise InputError(f"examples of {read[0].dtype}, as the first one", str(read[-1].dtype))
    if not read:
        raise InputError("at least one example", "none")
    low, high = min(x.min().item() for x in read), max(x.max().item() for x in read)
    return f"{len(read)} of {total if hasattr(examples, '__len__') else 'a stream'}, values {low:g} to {high:g}"


def check_run(run: RunFolder, report: CheckReport) -> Any:
    """Check that the files of a run can be read; return its flow, None if it cannot be loaded."""
    flow: list[Any] = []
    report.attempt("the manifest can be read", lambda: f"model {run.facts().get('model', 'a layout')}")
    report.attempt("the flow can be loaded, with finite weights", lambda: flow.append(load(run.path)))
    report.attempt(
        "checkpoints can be read", lambda: f"steps {', '.join(str(run.read(n)['step']) for n in run.steps())}"
    )
    report.attempt("metrics can be read", lambda: f"{len(run.metrics())} evaluations")
    return flow[0] if flow else None
