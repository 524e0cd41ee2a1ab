"""The application `mera`: commands by name, in the order in which people use them."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Annotated

import typer

from mera import __version__
from mera.cli.first_words import first_words
from mera.cli.stopping import stoppable
from mera.cli.terminal import OPTIONS, as_app, lazy_group

COMMANDS = {
    "demo": "Train RG-Flow and Real NVP on generated images for a minute each, and draw what they learnt.",
    "info": "Show the plan and the parameters of a model, a run, a file of a flow, or a layout of your own.",
    "train": "Train a model or a layout of your own, or resume a run.",
    "evaluate": "Evaluate runs on their test examples; several runs are compared in one table.",
    "measure": "Measure a lattice action with the flow of a run: reweighting, Metropolis or HMC.",
    "check": "Check the laws of a run, a flow or a data set; without an argument, show versions and devices.",
    "compare": "Train several models on the same data, and write a report with standard errors.",
    "sample": "Draw samples of a run, and write them as a grid.",
    "inpaint": "Fill masked pixels of an image with the flow of a run.",
    "map": "Map log p of an image of any size, by site and level: a store on disk and a picture.",
    "find": "Find what surprises in a picture, such as dust and scratches: a mask for `mera inpaint`, and a table.",
    "refine": "Refine a picture: twice the edges or more, with plausible details.",
    "mix": "Mix two pictures by scale: coarse levels of one with fine levels of the other.",
    "explore": "Explore a flow in a browser: latents, fillings and a map of its cost.",
}
"""The help text of each command. The command NAME is the function or the application `NAME_command` in `mera.cli.NAME`,
or in the file that `FILES` names."""
FILES = {
    "check": "evaluate", "sample": "evaluate", "map": "pictures", "find": "pictures",
    "mix": "pictures", "refine": "pictures", "info": "flows", "explore": "flows",
}  # fmt: skip
"""The file of a command that shares it with others."""

STOPPABLE = ("map", "find", "mix", "refine", "inpaint", "sample")
"""The commands that Ctrl-C ends within two seconds."""
EPILOG = (
    "Exit status: 0 if all is done, or if a run was interrupted and saved; 1 after an error that you can correct, "
    "which is one line on standard error; 2 if the arguments are not those of a command."
)


def _application(name: str) -> typer.Typer:
    """The application of a command."""
    command = getattr(import_module(f"mera.cli.{FILES.get(name, name)}"), f"{name}_command")
    return as_app(stoppable(command) if name in STOPPABLE else command)


app = typer.Typer(
    cls=lazy_group(
        {name: (help_text, partial(_application, name)) for name, help_text in COMMANDS.items()}, before=first_words
    ),
    no_args_is_help=True,
    epilog=EPILOG,
    **OPTIONS | {"add_completion": True},
)


def _show_version(is_requested: bool) -> None:
    """Print the versions of mera and torch and the device of commands, and exit, if `--version` was passed."""
    if is_requested:
        import torch

        from mera.cli.sources import choose_device

        device = choose_device("auto")
        name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
        print(f"mera {__version__}\ntorch {torch.__version__}\ndevice {device}{name}")
        raise typer.Exit


Modules = Annotated[
    list[str],
    typer.Option(
        "--import",
        metavar="MODULE",
        help="A Python module, or a file .py, to import first, which registers models, bijectors, data or actions.",
    ),
]


@app.callback()
def _mera(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show versions and the device, and exit."
        ),
    ] = False,
    modules: Modules = [],  # noqa: B006, typer wants a list
) -> None:
    """Hierarchical normalizing flows."""
