"""The laws of data sets."""

from __future__ import annotations

from operator import length_hint
from typing import Any

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.data import DataSplits, Examples
from mera.data.gate import check_labels
from mera.laws.report import CheckReport

READ = 200
"""The number of examples of each split that are read."""


def check_splits(splits: DataSplits, report: CheckReport) -> None:
    """Check training and test examples: one shape and dtype, finite values, numbers of labels, no common examples."""
    parts = {"training": splits.train, "test": splits.test}
    read = {name: _check_examples(name, examples, report) for name, examples in parts.items()}
    if not all(len(examples) for examples in read.values()):
        return
    kinds = {name: (tuple(examples[0].shape), examples[0].dtype) for name, examples in read.items()}
    report.add("both splits have one shape and dtype", kinds["training"] == kinds["test"], str(kinds["training"]))
    if kinds["training"] == kinds["test"]:
        rows = {name: {_bytes(example) for example in examples} for name, examples in read.items()}
        common = len(rows["training"] & rows["test"])
        report.add("no test example among the training examples read", not common, f"{common} in common")
    for name, examples in parts.items():
        for label, values in getattr(examples, "labels", {}).items():
            if label == "class" and isinstance(values, Tensor):
                report.add(f"classes of the {name} examples are 0 or more", bool((values >= 0).all()))
            elif label == "context" and isinstance(values, Tensor):
                report.add(f"contexts of the {name} examples are finite", bool(values.isfinite().all()))
    classes = [getattr(examples, "labels", {}).get("class") for examples in parts.values()]
    known = [set(values.unique().tolist()) for values in classes if isinstance(values, Tensor)]
    if len(known) == 2:
        unknown = known[1] - known[0]
        report.add("every class of the test is in the training", not unknown, f"missing: {sorted(unknown)[:10]}")


def _bytes(example: Tensor) -> bytes:
    """The bytes of an example of any dtype, by which it is recognised."""
    return example.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()


def _check_examples(name: str, examples: Examples, report: CheckReport) -> list[Tensor]:
    """Check the examples of a split, and return the first of them."""
    total = length_hint(examples, READ)
    spread = [i * max(1, total // READ) for i in range(min(READ, total))]
    in_order = getattr(examples, "in_order", False)
    read: list[Tensor] = []

    def reads() -> str:
        for index in range(min(READ, total)) if in_order else spread:
            read.append(examples[index])
        if not read:
            raise InputError("at least one example", "none")
        return f"{len(read)} of {total if hasattr(examples, '__len__') else 'a stream'}"

    def uniform() -> str:
        shapes = {(tuple(example.shape), str(example.dtype)) for example in read}
        if len(shapes) > 1:
            raise InputError("examples of one shape and dtype", str(sorted(shapes)[:3]))
        if read[0].dtype != torch.uint8 and not read[0].is_floating_point():
            raise InputError("uint8 images or fields of floats", str(read[0].dtype))
        low, high = min(x.min().item() for x in read), max(x.max().item() for x in read)
        return f"{next(iter(shapes))}, values {low:g} to {high:g}"

    report.attempt(f"{name} examples can be read, and are finite", reads)
    if read:
        report.attempt(f"{name} examples have one shape and dtype", uniform)
    labels: Any = getattr(examples, "labels", None)
    if labels:
        report.attempt(f"{name} labels have an entry for each example", lambda: ", ".join(check_labels(labels, total)))
    return read
