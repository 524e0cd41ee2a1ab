"""Classification by Bayes' rule with the densities of a conditional flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.table import Table, Tabled, plus_minus
from mera.data import Examples, class_numbers
from mera.flow import Density
from mera.train.evaluate import Progress, example_losses, rows_of
from mera.train.likelihoods import ImageLikelihood, likelihood_of


@dataclass(frozen=True, repr=False)
class Classes(Tabled):
    r"""Log-densities of examples by class, and the classes of Bayes' rule, :math:`p(c | x) \propto p(x | c) p(c)`.

    Args:
        log_prob: :math:`\log p(x | c)`, (N, K), in nats; of images it is that of pixels, for one noise.
        labels: the true classes, (N,); None if the examples have no labels.
        prior: the probabilities of classes, (K,).
        names: the names of classes; empty if they have none.
    """

    log_prob: Tensor = field(repr=False)
    labels: Tensor | None
    prior: Tensor
    names: Sequence[str] = ()

    @property
    def posterior(self) -> Tensor:
        """The probabilities of classes given each example, (N, K)."""
        return (self.log_prob + self.prior.log()).softmax(1)

    @property
    def predicted(self) -> Tensor:
        """The most probable class of each example, (N,)."""
        return self.posterior.argmax(1)

    @property
    def accuracy(self) -> float:
        """The share of examples whose most probable class is the true one; NaN without labels."""
        return math.nan if self.labels is None else (self.predicted == self.labels).double().mean().item()

    @property
    def error(self) -> float:
        r"""The standard error of the accuracy, by Laplace's rule, so that it is not 0 where all are right.

        It is :math:`\sqrt{q (1 - q) / (N + 2)}` with :math:`q = (n + 1) / (N + 2)` for n right ones of N.
        """
        n = len(self.log_prob)
        q = (n * self.accuracy + 1) / (n + 2)
        return math.sqrt(q * (1 - q) / (n + 2))

    @property
    def table(self) -> Table:
        """For each true class the number of examples, the share that is recognised, and the most frequent mistake."""
        if self.labels is None:
            counts = self.predicted.bincount(minlength=len(self.prior)).tolist()
            return Table(["class", "predicted"], [[self.name(c), count] for c, count in enumerate(counts)])
        rows = []
        for c in range(len(self.prior)):
            found = self.predicted[self.labels == c]
            wrong = found[found != c]
            share = f"{(found == c).double().mean():.1%}" if len(found) else ""
            mistake = f"{self.name(int(wrong.mode().values))} ({len(wrong)} wrong)" if len(wrong) else ""
            rows.append([self.name(c), len(found), share, mistake])
        return Table(["class", "examples", "recognised", "most often taken for"], rows)

    @property
    def legend(self) -> str:
        """The accuracy with its error; empty without labels."""
        if self.labels is None:
            return ""
        return f"accuracy by Bayes' rule: {plus_minus(self.accuracy, self.error)} on {len(self.labels):,} examples"

    def name(self, number: int) -> str:
        """The name of a class, or its number."""
        return self.names[number] if self.names else str(number)


def classify(
    flow: Density,
    examples: Examples,
    n: int | None = None,
    *,
    prior: Any = None,
    names: Sequence[str] = (),
    progress: Progress | None = None,
) -> Classes:
    """Compute the log-density of examples for each class of a conditional flow, and classify them by Bayes' rule.

    The noise of dequantisation is the same for all classes of an example.

    Args:
        flow: a flow that was built with `classes=K`.
        examples: a data set, such as `data.test`, with labels or without; see `mera.data.ArrayDataset`.
        n: the number of examples, spread evenly; all if None.
        prior: the probabilities of classes, (K,), such as their shares in the training data; equal ones if None.
        names: the names of classes.
        progress: called with the number of examples that are done, and their fraction.

    Raises:
        ValueError: if the flow is not conditional on classes, or the prior is not K probabilities.

    >>> import mera, torch
    >>> flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), classes=2)
    >>> data = mera.data.ArrayDataset(torch.randn(20, 1, 4, 4), labels=torch.arange(20) % 2)
    >>> mera.analysis.classify(flow, data).log_prob.shape
    torch.Size([20, 2])
    """
    count = flow.context_encoder.classes
    if count is None or not flow.flow.needs_context:
        raise InputError("a flow that is conditional on classes, mera.build(..., classes=K)", "another flow")
    shares = torch.full((count,), 1 / count) if prior is None else torch.as_tensor(prior)
    shares = shares.double()
    if shares.shape != (count,) or not (shares >= 0).all() or not abs(shares.sum() - 1) < 1e-6:
        raise InputError(f"{count} probabilities of classes, whose sum is 1", str(shares.tolist())[:80])
    losses: list[Tensor] = []

    def show(done: int, fraction: float) -> None:
        if progress is not None:
            progress(done, (len(losses) + fraction) / count)

    for number in range(count):
        losses.append(example_losses(flow.given(number), examples, n, progress=show))
    nats = flow.plan.input.variables * (math.log(2) if likelihood_of(examples[0]) is ImageLikelihood else 1.0)
    has_labels = "class" in getattr(examples, "labels", {})
    labels = class_numbers(examples)[rows_of(len(examples), len(losses[0]))] if has_labels else None
    return Classes(-nats * torch.stack(losses, 1), labels, shares, names)
