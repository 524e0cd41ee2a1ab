"""The command `mera evaluate`: the loss of runs on their test examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from mera._utils.progress import ProgressBar, check_console
from mera._utils.table import Table
from mera.cli.common import Device, Lattice, Root, choose_device
from mera.cli.lazy import sources
from mera.cli.output import Json, show, show_json
from mera.cli.sources import LEARNT_HELP, examples_of, load_flow
from mera.graph.summary import count_parameters
from mera.train.evaluate import Progress, example_losses, mean_and_error, pictures_of
from mera.train.health import inverse_error
from mera.train.likelihoods import likelihood, likelihood_of


def command(
    run: Annotated[
        list[Path], typer.Argument(autocompletion=sources, help=f"{LEARNT_HELP} Several are compared in one table.")
    ],
    images: Annotated[int | None, typer.Option(min=1, help="Number of test images; all if left out.")] = None,
    L: Lattice = None,
    root: Root = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Evaluate runs on their test examples: the loss per variable, and the largest error of inverting the flow."""
    shown = check_console(None, quiet=as_json)  # on terminals
    results = []
    for path in run:
        with ProgressBar(f"evaluate {path}", shown, "example") as bar:
            results.append(_evaluate(path, images, L, root, choose_device(device), bar.update))
    if as_json:
        show_json(results)
        return
    rows = [_formatted(result) for result in results]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if len(rows) == 1:
        show(Table(["what", "value"], list(rows[0].items())[1:]))
    else:
        show(Table(columns, [[row.get(name, "") for name in columns] for row in rows]))


def _evaluate(
    run: Path, n: int | None, L: Any, root: Path | None, device: torch.device, progress: Progress
) -> dict[str, Any]:
    """The test loss, the inversion error and the sizes of one run, by name."""
    flow = load_flow(run, L).to(device)
    test = examples_of(run, flow, root)
    kind = likelihood_of(test[0])
    losses = example_losses(flow, test, n, progress=progress)
    pictures = pictures_of(test, len(losses))
    mean, error = mean_and_error(losses, pictures)
    over = "" if pictures is None or len(pictures.unique()) < 2 else f" over {len(pictures.unique())} pictures"
    return {
        "run": str(run),
        f"test {kind.name}": len(losses),
        kind.unit: mean,
        f"standard error{over}": error,
        "largest error of x -> z -> x": inverse_error(flow, likelihood(flow, test)),
        "parameters": count_parameters(flow),
    }


def _formatted(result: dict[str, Any]) -> dict[str, str]:
    """Format numbers for a table."""
    return {
        name: (f"{value:.2e}" if name.startswith("largest") else f"{value:.4f}")
        if isinstance(value, float)
        else (f"{value:,}" if isinstance(value, int) else value)
        for name, value in result.items()
    }
