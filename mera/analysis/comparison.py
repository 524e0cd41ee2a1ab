"""The result of a comparison of models: scores with two errors, as a table, as files for a paper, and as curves."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mera._utils.files import make_folder, write_atomically
from mera._utils.table import Table, Tabled, plus_minus
from mera.drawing.curves import loss_curves
from mera.drawing.figures import Picture
from mera.drawing.images import save_figure
from mera.train import RunFolder
from mera.train.evaluate import mean_and_error

MARGIN = 0.1
"""The share by which a number of parameters may differ from the one that was asked for before the table marks it."""


@dataclass(frozen=True)
class Score:
    """The result of one run of a comparison.

    Args:
        model: the model with options, as text.
        seed: the seed of weights, order of the data and noise.
        parameters: the number of parameters.
        steps: the number of training steps; 0 for a flow that was already trained.
        minutes: the training time.
        losses: the loss of each test example.
        sampling: the median time for 64 samples in five calls, in seconds.
        run: the folder of the run; the text of the model for a flow that was already trained.
        lr: the learning rate; None for a flow that was already trained.
        tuning: the minutes of the short runs that chose the rate, 0 if it was given.
    """

    model: str
    seed: int
    parameters: int
    steps: int
    minutes: float
    losses: Sequence[float] = field(repr=False)
    sampling: float
    run: str
    lr: float | None = None
    tuning: float = 0.0

    @property
    def loss(self) -> float:
        """The mean loss on the test examples, in bits per dimension for images, in nats per variable for fields."""
        return statistics.fmean(self.losses)


@dataclass(frozen=True, repr=False)
class Comparison(Tabled):
    """The scores of a comparison, which show themselves as a table with the errors of all means.

    A loss has two errors. The one over test examples says how much the mean would change with other test examples; that
    of a difference is computed from the paired differences of single examples, and is smaller. The one over seeds says
    how much training again would change it, which a single seed does not tell.

    Args:
        scores: the results of the runs so far.
        data: the name of the data.
        kind: what an example is, "images" or "fields".
        unit: the unit of losses.
        recipe: how the models were trained, as (name, value).
        parameters: the number of parameters that was asked for; None if none was.
        pictures: the number of the picture of each test window; errors over examples are then over pictures.
        expected: the number of runs that the whole comparison has.
    """

    scores: Sequence[Score]
    data: str
    kind: str = "images"
    unit: str = "bits/dim"
    recipe: Sequence[tuple[str, str]] = ()
    parameters: int | None = None
    pictures: Tensor | None = None
    expected: int = 0

    @property
    def is_complete(self) -> bool:
        """Return whether all runs of the comparison are done."""
        return len(self.scores) >= self.expected

    def runs(self) -> dict[str, list[Score]]:
        """The scores of each model, by seed."""
        by_model: dict[str, list[Score]] = {}
        for score in self.scores:
            by_model.setdefault(score.model, []).append(score)
        return by_model

    def rows(self) -> list[dict[str, Any]]:
        """A row of numbers for each model, in the order of the models; None for unknown numbers.

        A row has the keys model, parameters, steps, minutes, seeds, lr, tuning_minutes; loss with error_examples and
        error_seeds; difference (to the loss of the first model) with difference_error_examples and
        difference_error_seeds; sampling_seconds (of 64 samples), and note.
        """
        by_model = self.runs()
        if not by_model:
            return []
        base = next(iter(by_model.values()))
        return [
            {
                "model": model,
                "parameters": runs[0].parameters,
                "steps": statistics.fmean(run.steps for run in runs),
                "minutes": statistics.fmean(run.minutes for run in runs),
                "seeds": len(runs) if runs[0].steps else 0,
                "lr": runs[0].lr,
                "tuning_minutes": runs[0].tuning,
                **self._means("loss", "error", [run.losses for run in runs]),
                **self._difference(runs, base),
                "sampling_seconds": statistics.fmean(run.sampling for run in runs),
                "note": self._note(runs[0]),
            }
            for model, runs in by_model.items()
        ]

    def _difference(self, runs: Sequence[Score], base: Sequence[Score]) -> dict[str, Any]:
        """The paired differences to the first model, by the seeds of both; a trained flow has one run for all seeds."""
        if runs is base:
            return self._means("difference", "difference_error", [])
        sides = [(part, {run.seed: run.losses for run in part}) for part in (runs, base)]
        learnt = [set(losses) for part, losses in sides if part[0].steps]
        seeds = sorted(set.intersection(*learnt)) if learnt else [base[0].seed]
        pairs = [[losses.get(seed, part[0].losses) for part, losses in sides] for seed in seeds]
        gaps = [[a - b for a, b in zip(*pair, strict=True)] for pair in pairs]
        return self._means("difference", "difference_error", gaps)

    def _means(self, name: str, error: str, losses: Sequence[Sequence[float]]) -> dict[str, Any]:
        """The mean of losses of runs, (runs, examples), and its errors over examples and over runs."""
        if not losses:
            return dict.fromkeys((name, f"{error}_examples", f"{error}_seeds"))
        values = torch.tensor(losses, dtype=torch.float64)
        mean, over_examples = mean_and_error(values.mean(0), self.pictures)
        of_runs = values.mean(1)
        over_seeds = (of_runs.std() / math.sqrt(len(of_runs))).item() if len(of_runs) > 1 else None
        over = None if math.isnan(over_examples) else over_examples
        return {name: mean, f"{error}_examples": over, f"{error}_seeds": over_seeds}

    def _note(self, score: Score) -> str:
        """How the budget of a model differs from that of the others, in words; empty if it does not."""
        notes = [] if score.steps else ["already trained, and evaluated as it is"]
        if self.parameters and abs(score.parameters / self.parameters - 1) > MARGIN:
            notes.append(f"not of {self.parameters:,} parameters")
        return "; ".join(notes)

    # The table, for people

    @property
    def table(self) -> Table:
        """A table of the models, with both errors of losses and differences, and a star at an unequal budget."""
        rows = self.rows()
        errors = " ± examples" + (" ± seeds" if any(row["error_seeds"] is not None for row in rows) else "")
        columns = ["model", "parameters", "steps", "minutes", f"test {self.unit}{errors}", f"less the first{errors}"]
        rates = any(row["tuning_minutes"] for row in rows)
        columns += [*(["rate"] if rates else []), "64 samples, ms"]
        return Table(columns, [self._cells(row, rates) for row in rows])

    def _cells(self, row: dict[str, Any], rates: bool) -> list[str]:
        """The cells of a row."""
        return [
            row["model"] + ("*" if row["note"] else ""),
            f"{row['parameters']:,}",
            f"{row['steps']:,.0f}",
            f"{row['minutes']:.1f}",
            two_errors(row, "loss", "error"),
            two_errors(row, "difference", "difference_error", sign=True),
            *([f"{row['lr']:.2g}" if row["lr"] else ""] if rates else []),
            f"{1000 * row['sampling_seconds']:.0f}",
        ]

    @property
    def legend(self) -> str:
        """The lines below the table, with notes, and with the differences that errors do not tell from 0."""
        rows = self.rows()
        lines = [f"* {row['model']}: {row['note']}" for row in rows if row["note"]]
        unclear = [row["model"] for row in rows if row["difference"] is not None and not _is_clear(row)]
        if unclear:
            lines.append(f"Within two of its errors, the difference to the first model is 0 for {', '.join(unclear)}.")
        if any(row["seeds"] == 1 for row in rows):
            lines.append("A model with one seed has no error over seeds, which may be larger than that over examples.")
        if any(row["error_seeds"] is not None and row["seeds"] < 5 for row in rows):
            lines.append("An error over few seeds is rough itself: of two seeds, by a factor of about two.")
        if not self.is_complete:
            lines.append(f"{len(self.scores)} of {self.expected} runs are done.")
        return "\n".join(lines)

    # Files, for papers

    def csv(self) -> str:
        """The rows as comma-separated values with a header, in full precision."""
        text, rows = io.StringIO(), self.rows()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def json(self) -> str:
        """The rows, the recipe and the unit as JSON."""
        content = {"data": self.data, "unit": self.unit, "recipe": dict(self.recipe), "rows": self.rows()}
        return json.dumps(content, indent=2) + "\n"

    def latex(self) -> str:
        r"""The table for LaTeX with the package booktabs, errors behind :math:`\pm`."""
        header, rows = self.table.header, self.table.cells
        align = "l" + "r" * (len(header) - 1)
        lines = [" & ".join(map(_latex, row)) + r" \\" for row in (header, *rows)]
        notes = [f"% {line}" for line in self.legend.splitlines()]
        body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
        return "\n".join([*notes, rf"\begin{{tabular}}{{{align}}}", *body, r"\end{tabular}", ""])

    def curves(self) -> Picture:
        """Draw the loss over the seconds of training: the mean over seeds of each model, within a band of all seeds."""
        learnt = {model: [run for run in runs if run.steps] for model, runs in self.runs().items()}
        lines = {model: [RunFolder(run.run).metrics() for run in runs] for model, runs in learnt.items() if runs}
        metric = f"test_{'bits' if self.unit == 'bits/dim' else 'nats'}"
        return loss_curves(lines, "seconds", metric, f"test {self.unit}", f"learning {self.data}")

    def save(self, out: str | Path) -> Path:
        """Write report.md, table.csv, table.json, table.tex, curves.png and curves.pdf.

        Args:
            out: the folder.

        Returns:
            The path of the report.
        """
        out = Path(out)
        make_folder(out)
        texts = {"table.csv": self.csv(), "table.json": self.json(), "table.tex": self.latex()}
        parts = [f"# Models on {self.data}", self.table.markdown(), *self.legend.splitlines()]
        parts.append(Table(["recipe", ""], list(self.recipe)).markdown())
        if any(score.steps for score in self.scores):
            for suffix in ("png", "pdf"):
                save_figure(self.curves(), out / f"curves.{suffix}")
            parts.append("![test loss over time: mean over seeds, and the band of all seeds](curves.png)")
        texts["report.md"] = "\n\n".join(parts) + "\n"
        for name, text in texts.items():
            write_atomically(out / name, text.encode())
        return out / "report.md"


def machine(device: torch.device | str) -> str:
    """The machine, the number of threads and the device in words."""
    on_gpu = torch.device(device).type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{torch.get_num_threads()} threads"
    return f"{platform.machine()}, {platform.system()}, {name}"


def two_errors(row: dict[str, Any], name: str, error: str, sign: bool = False) -> str:
    """A value of a row with its errors over examples and over seeds, as far as they are known; empty without a value.

    >>> two_errors({"loss": 2.5, "error_examples": 0.01, "error_seeds": 0.002}, "loss", "error")
    '2.500 ± 0.010 ± 0.002'
    """
    if row[name] is None:
        return ""
    errors = [row[f"{error}_{kind}"] for kind in ("examples", "seeds")]
    least = min((e for e in errors if e), default=math.nan)
    digits = max(3, -math.floor(math.log10(least))) if least < 0.0005 else 3
    value, *others = (plus_minus(row[name], e if e is not None else math.nan, digits, sign) for e in errors)
    return value + "".join(f" ± {text.partition(' ± ')[2]}" for text in others if " ± " in text)


def _is_clear(row: dict[str, Any]) -> bool:
    """Return whether a difference is more than two of its errors, both of them together."""
    errors = [row[f"difference_error_{kind}"] or 0.0 for kind in ("examples", "seeds")]
    return abs(row["difference"]) > 2 * math.hypot(*errors)


def _latex(cell: str) -> str:
    """A cell for LaTeX; a value with errors is mathematics."""
    if "±" in cell and any(character.isdigit() for character in cell):
        return f"${cell.replace('±', chr(92) + 'pm')}$"
    for character in "&%$#_{}":
        cell = cell.replace(character, f"\\{character}")
    return cell.replace("±", r"$\pm$")
